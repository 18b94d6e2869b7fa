"""From a training split and a run's settings to training pairs."""

import datasets

from modeling_prompt_clip import PromptCLIPProcessor
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.data.pairs import CaptionPairs
from trainers.data.streaming import StreamedPairs
from trainers.objectives import CaptionMasking
from trainers.transforms.captions import TextAugmentation
from trainers.transforms.images import TrainingTransform


def training_pairs(
    args: TwoStageTrainingArguments,
    processor: PromptCLIPProcessor,
    train: datasets.Dataset | datasets.IterableDataset,
) -> CaptionPairs | StreamedPairs:
    """Return the training split as augmented caption-image pairs.

    Raises ValueError: no rows, a blank caption, an augmentation that does not suit the tokenizer, or a stream with
        another sampling than `shuffle`.
    """
    transform = TrainingTransform(
        processor.image_size,
        processor.image_processor.image_mean,
        processor.image_processor.image_std,
        flip=args.augment_flip,
        pad=args.augment_pad,
        erase=args.augment_erase,
        color_jitter=args.augment_color_jitter,
    )
    tokenizer = processor.tokenizer
    augment_text = TextAugmentation(args.augment_text, tokenizer) if args.augment_text else None
    uses_mlm = any(args.stage(name).objectives.get("mlm") for name in args.stages)
    mask_words = CaptionMasking(tokenizer, args.mlm_probability) if uses_mlm else None
    if isinstance(train, datasets.IterableDataset):
        if args.sampling != "shuffle":
            raise ValueError(
                f"sampling is {args.sampling!r} and the training split a stream, which can only be shuffled; set "
                "sampling to shuffle, or give a data set that is not streamed"
            )
        return StreamedPairs(
            train,
            tokenizer,
            transform,
            args.seed,
            args.shuffle_buffer,
            augment_text,
            mask_words,
            args.clean_captions,
        )
    options = (args.sampling, args.num_instances, args.clean_captions)
    return CaptionPairs(train, tokenizer, transform, args.seed, augment_text, mask_words, *options)


__all__ = ["training_pairs"]
