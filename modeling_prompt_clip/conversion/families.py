"""Families of checkpoints and what no tensor tells: activation, pixels, captions.

Checked against their code: IRRA, CLIP2TextReID, RDE and MLLM4Text-ReID resize by torchvision's bilinear default and
normalise by CLIP's statistics; TBPS-CLIP resizes bicubically, normalises by ImageNet's, and cleans captions before
tokenizing. OpenAI's code, and all that copy it, have heads of 64 and QuickGELU.
"""

from dataclasses import dataclass

from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

__all__ = ["ACTIVATIONS", "NORMALIZATIONS", "Family", "family_of_prefix"]

ACTIVATIONS = ("quick_gelu", "gelu")
NORMALIZATIONS = {
    "clip": (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD),
    "imagenet": (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
}


@dataclass(frozen=True)
class Family:
    """Checkpoints of one code."""

    name: str  # as a sentence has it
    activation: str = "quick_gelu"  # of its models
    has_one_activation: bool = True  # whether all its models have that; in open_clip and transformers both occur
    normalization: str = "clip"  # of images, a key of `NORMALIZATIONS`
    resample: str = "bicubic"  # how images are resized, `"bilinear"` or `"bicubic"`
    captions: str = "clip"  # `"clip"`, or `"tbps_clip"`: without the punctuation `. ! " ( ) * # : ; ~`


OPENAI = Family("OpenAI's CLIP")
CLIP_LIKE = Family("OpenAI's layout", has_one_activation=False)
IRRA = Family("IRRA, RDE or MLLM4Text-ReID", resample="bilinear")
CLIP2TEXTREID = Family("CLIP2TextReID", resample="bilinear")
TBPS_CLIP = Family("TBPS-CLIP", normalization="imagenet", captions="tbps_clip")
OPEN_CLIP = Family("open_clip", activation="gelu", has_one_activation=False)
TRANSFORMERS = Family("transformers", has_one_activation=False)

_BY_PREFIX = {"base_model.": IRRA, "base.": CLIP2TEXTREID}


def family_of_prefix(vision: str, text: str) -> Family:
    """Find a family by its towers' names, such as `"base_model.visual."` and `"base_model."`."""
    if text.endswith("encode_text."):
        return TBPS_CLIP
    if text.endswith("text."):
        return OPEN_CLIP
    if vision.endswith("vision_model."):
        return TRANSFORMERS
    return next((family for end, family in _BY_PREFIX.items() if text == end or text.endswith(f".{end}")), CLIP_LIKE)
