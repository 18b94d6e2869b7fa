"""The models that the stages start from: base, prompts, low-rank updates."""

import datasets
from peft import LoraConfig, PeftModel, get_peft_model

from modeling_prompt_clip import DeepPromptConfig, PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.configuration_prompt_clip import validate_prompt_settings
from modeling_prompt_clip.loading import is_adapter, resolve_model_path, with_adapter
from modeling_prompt_clip.retrieval.image_batches import ImagePreparation
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.data.streaming import first_rows

# every matrix of a layer, not only those of attention: what QLoRA (arXiv 2305.14314) found to matter most
LORA_TARGETS = (
    r"(?:text|vision)_model\.encoder\.layers\.\d+\.(?:self_attn\.(?:q_proj|k_proj|v_proj|out_proj)|mlp\.fc[12])"
)


def load_base(
    args: TwoStageTrainingArguments, processor: PromptCLIPProcessor | None = None
) -> tuple[PromptCLIPModel, PromptCLIPProcessor]:
    """The base model at the run's image size, and its processor unless another is passed.

    Raises OSError, ValueError: see [`PromptCLIPModel.from_clip`].
    """
    folder = str(resolve_model_path(args.base_model))
    if is_adapter(folder):
        raise ValueError(
            f"base_model {args.base_model!r} is an adapter; give it to adapter, with stages two, and its own base "
            "model to base_model"
        )
    options = {"attn_implementation": args.attn_implementation} if args.attn_implementation else {}
    model = PromptCLIPModel.from_clip(folder, image_size=tuple(args.image_size), **options)
    model.name_or_path = args.base_model  # what an adapter records as its base: the name, not this machine's path
    return model, processor or PromptCLIPProcessor.from_clip(folder, image_size=tuple(args.image_size))


def merged_adapter(model: PromptCLIPModel, folder: str) -> PromptCLIPModel:
    """Merge the prompts of a saved stage-one adapter into the base model.

    Raises:
        OSError: there is no adapter, or its files are damaged.
        ValueError: it was trained for other images or another model, or its tensors are not all there.
    """
    return with_adapter(model, folder).merge_and_unload(safe_merge=True)


def new_prompt_config(args: TwoStageTrainingArguments, model: PromptCLIPModel) -> DeepPromptConfig | None:
    """Configure the prompts of stage one; `None` if it is not run.

    Raises ValueError: `prompt_layers` names a layer that the model lacks.
    """
    if "one" not in args.stages:
        return None
    config = DeepPromptConfig(
        text_prompt_length=args.text_prompt_length,
        vision_prompt_length=args.vision_prompt_length,
        prompt_layers=args.prompt_layers,
        prompt_init=args.prompt_init,
        coupled_prompts=args.coupled_prompts,
    )
    for tower, length in (("text", config.text_prompt_length), ("vision", config.vision_prompt_length)):
        layers = getattr(model.config, f"{tower}_config").num_hidden_layers
        validate_prompt_settings(tower, length, config.prompt_layers, layers)
    return config


def prompted_model(
    args: TwoStageTrainingArguments,
    model: PromptCLIPModel,
    processor: PromptCLIPProcessor,
    config: DeepPromptConfig,
    train: datasets.Dataset | datasets.IterableDataset,
) -> PeftModel:
    """Wrap the frozen model with new prompts.

    With `prompt_init: activations`, vision prompts start from the first 256 images of `train`.
    """
    prompted = get_peft_model(model, config)
    if args.prompt_init == "activations":
        input_ids = processor(text=[args.prompt_init_phrase])["input_ids"].to(model.device)
        preparation = ImagePreparation(processor)
        images = preparation.resize(row["image"] for row in first_rows(train, 256))
        prompted.base_model.initialize_from_activations(input_ids, preparation.normalize(images.to(model.device)))
    return prompted


def chosen_processor(
    model: PromptCLIPModel | None,
    processor: PromptCLIPProcessor | None,
    processing_class: PromptCLIPProcessor | None,
    args: TwoStageTrainingArguments,
) -> PromptCLIPProcessor | None:
    """The processor that the caller passed, under either name."""
    if processor is not None and processing_class is not None:
        raise ValueError("processor and processing_class are two names of one argument; pass one of them")
    processor = processor if processing_class is None else processing_class
    if model is not None and processor is None:
        raise ValueError("model is passed without processing_class; pass its processor, too")
    if processor is not None and not isinstance(processor, PromptCLIPProcessor):
        raise TypeError(f"processing_class is a {type(processor).__name__}; pass a PromptCLIPProcessor")
    if model is None and processor is not None and processor.image_size != tuple(args.image_size):
        raise ValueError(
            f"processing_class makes images of {processor.image_size} and image_size is {args.image_size}; pass a "
            "processor of that size, or set image_size to its own"
        )
    return processor


def lora_model(model: PromptCLIPModel, rank: int, alpha: float) -> PeftModel:
    """Wrap a model with trainable updates `alpha / rank * B A` of each matrix in both towers' layers.

    This is LoRA (arXiv 2106.09685). B starts at 0. Prompts, norms, biases, embeddings and projections are frozen.
    """
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=alpha, target_modules=LORA_TARGETS))


__all__ = [
    "LORA_TARGETS",
    "chosen_processor",
    "load_base",
    "lora_model",
    "merged_adapter",
    "new_prompt_config",
    "prompted_model",
]
