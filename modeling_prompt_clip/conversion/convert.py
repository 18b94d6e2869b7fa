"""Converts a checkpoint file into a model folder that loads like any other."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import CLIPImageProcessorPil
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from dataset_scripts.common.files import new_folder
from modeling_prompt_clip.configuration_prompt_clip import PromptCLIPConfig
from modeling_prompt_clip.conversion.checkpoint_file import read_tensors
from modeling_prompt_clip.conversion.openai_layout import OpenAILayout, clip_tensors, config_of, find_layout
from modeling_prompt_clip.modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.processing_prompt_clip import PromptCLIPProcessor, load_tokenizer

__all__ = ["ConvertedCheckpoint", "convert_checkpoint"]

STATISTICS = {
    "clip": (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD),
    "imagenet": (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
}
OPENAI_TOKENIZER = "openai/clip-vit-base-patch16"


@dataclass(frozen=True)
class ConvertedCheckpoint:
    """What was converted.

    Attributes:
        layout: where the CLIP was in the checkpoint.
        config: of the model.
        dropped: names of the tensors that are no part of CLIP.
        normalization: `"clip"` or `"imagenet"`.
    """

    layout: OpenAILayout
    config: PromptCLIPConfig
    dropped: list[str]
    normalization: str

    def dropped_parts(self) -> dict[str, int]:
        """How many tensors were dropped of each part, the first word of their names."""
        return dict(Counter(name.partition(".")[0] for name in self.dropped))


def convert_checkpoint(
    source: str | Path,
    target: str | Path,
    *,
    tokenizer: str | os.PathLike = OPENAI_TOKENIZER,
    image_size: tuple[int, int] | None = None,
    prefix: str | None = None,
    normalization: str | None = None,
) -> ConvertedCheckpoint:
    """Convert OpenAI's CLIP, or a model of the IRRA family, into a folder with model and processor, in float32.

    Args:
        source: a `.pth`, `.pt` or `.safetensors` file; see `read_tensors`.
        target: the folder to make; it must not exist.
        tokenizer: folder or Hub id of CLIP's tokenizer, which checkpoint files do not hold.
        image_size: `(height, width)` in pixels that it was trained at, where the positions do not tell.
        prefix: how the names of the CLIP begin, where the file holds several.
        normalization: of images, `"clip"` or `"imagenet"`; by default what the kind of checkpoint was trained with.

    Raises:
        ValueError: a file that cannot be trusted or holds no such CLIP, tensors that are missing, an unknown
            normalisation, or the tokenizer of another model.
        OSError: the file, the tokenizer or the target folder cannot be used.
    """
    target = Path(target)
    if target.exists():
        raise FileExistsError(f"{target} exists; name a folder that does not")
    if normalization not in (None, *STATISTICS):
        raise ValueError(f"normalization is {normalization!r}; it must be 'clip' or 'imagenet'")
    tensors = read_tensors(source)
    layout = find_layout(tensors, prefix)
    state, dropped = clip_tensors(tensors, layout)
    config = config_of(state, image_size)
    model = _model(state, config, source)
    if normalization is None:
        normalization = "imagenet" if layout.imagenet_normalization else "clip"
    processor = _processor(tokenizer, config, normalization)
    with new_folder(target) as folder:
        model.save_pretrained(str(folder))
        processor.save_pretrained(str(folder))
    return ConvertedCheckpoint(layout, config, dropped, normalization)


def _model(state: dict[str, torch.Tensor], config: PromptCLIPConfig, source: str | Path) -> PromptCLIPModel:
    """The model with these weights; a temperature, which ranks nothing, is CLIP's own where the file has none."""
    model = PromptCLIPModel(config)
    try:
        outcome = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ValueError(f"checkpoint {source} does not fit together: {' '.join(str(error).split())}") from error
    missing = [name for name in outcome.missing_keys if name != "logit_scale"]
    if missing:
        raise ValueError(f"checkpoint {source} lacks {len(missing)} tensors of CLIP, such as {missing[0]}")
    return model.eval()


def _processor(tokenizer: str | os.PathLike, config: PromptCLIPConfig, normalization: str) -> PromptCLIPProcessor:
    """CLIP's tokenizer, and images at the model's size."""
    height, width = config.vision_config.image_height_width
    size = {"height": height, "width": width}
    mean, std = STATISTICS[normalization]
    images = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False, image_mean=mean, image_std=std)
    return PromptCLIPProcessor(image_processor=images, tokenizer=load_tokenizer(tokenizer, config))
