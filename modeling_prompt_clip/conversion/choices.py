"""Settings that tensors do not tell: given, known, or stated guesses."""

from dataclasses import dataclass
from typing import Any

from modeling_prompt_clip.conversion.checkpoint_file import CheckpointFile
from modeling_prompt_clip.conversion.families import ACTIVATIONS, CLIP_LIKE, OPEN_CLIP, OPENAI, TRANSFORMERS, Family
from modeling_prompt_clip.conversion.layout import OpenAILayout
from modeling_prompt_clip.conversion.open_clip_config import OpenClipConfig

__all__ = ["Choice", "choose_activation", "choose_head_width", "find_family"]

HEAD_WIDTH = 64  # of every CLIP that OpenAI made, and of all text towers of open_clip's CLIPs
OPEN_CLIP_HEAD_WIDTHS = {1280: (80, "ViT-H"), 1408: (88, "ViT-g"), 1664: (104, "ViT-bigG"), 1792: (112, "ViT-e")}
WIDEST = {"vision": 1024, "text": 1280}  # towers of known models up to these have heads of 64


@dataclass(frozen=True)
class Choice:
    """A setting and where it comes from."""

    value: Any  # of the setting
    why: str  # in words
    is_assumed: bool = False  # whether it may be wrong; then `why` says how to choose another


def find_family(layout: OpenAILayout, file: CheckpointFile, config: OpenClipConfig | None, width: int) -> Family:
    """Find a checkpoint's family by layout, names, open_clip's file and vision width."""
    if layout.family is not CLIP_LIKE:
        return layout.family
    if f"{layout.start}input_resolution" in file.tensors:  # a buffer of OpenAI's archives
        return OPENAI
    is_of_its_trainer = {"name", "epoch"} <= file.beside.keys()
    is_named_so = "open_clip" in file.path.name or "laion" in file.path.name.lower()
    has_bias = f"{layout.start}logit_bias" in file.tensors
    is_its_size = width in OPEN_CLIP_HEAD_WIDTHS
    return OPEN_CLIP if config or is_of_its_trainer or is_named_so or has_bias or is_its_size else CLIP_LIKE


def choose_activation(
    wanted: str | None, family: Family, file: CheckpointFile, config: OpenClipConfig | None
) -> Choice:
    """Choose `"quick_gelu"` or `"gelu"`.

    Raises ValueError: `wanted` is neither.
    """
    if wanted is not None:
        if wanted not in ACTIVATIONS:
            raise ValueError(f"activation is {wanted!r}; it must be 'quick_gelu' or 'gelu'")
        return Choice(wanted, "as given")
    if config is not None:
        return Choice(config.activation, f"as {config.path.name} says")
    if family.has_one_activation:
        return Choice(family.activation, f"as in the code of {family.name}")
    run = str(file.beside.get("name", "")).lower()
    if family is OPEN_CLIP and "quickgelu" in run:
        return Choice("quick_gelu", f"as the name of the run says, {file.beside['name']}")
    if "quickgelu" in file.path.name.lower():
        return Choice("quick_gelu", f"as the name of the file says, {file.path.name}")
    if family is OPEN_CLIP:
        why = (
            "open_clip's default; the checkpoint does not say. If its model's name ends with -quickgelu, or it began "
            "from OpenAI's weights, convert with --activation quick_gelu"
        )
    elif family is TRANSFORMERS:
        why = (
            "as most CLIPs in transformers; the checkpoint does not say. Convert with --activation gelu where "
            "hidden_act of its config.json is gelu, as in LAION's"
        )
    else:
        why = (
            "as OpenAI's models have it; the checkpoint does not say. For a model that open_clip trained (LAION, "
            "DataComp), convert with --activation gelu"
        )
    return Choice(family.activation, why, is_assumed=True)


def choose_head_width(tower: str, width: int, wanted: int | None, family: Family, known: int | None) -> Choice:
    """Choose the head width of a `"vision"` or `"text"` tower.

    Raises ValueError: it cannot be known, or does not divide the tower's width.
    """
    option = "head_width" if tower == "vision" else "text_head_width"
    for value, why in ((wanted, "as given"), (known, "as open_clip_config.json says")):
        if value is not None:
            if value < 1 or width % value:
                raise ValueError(f"{option} {value} does not divide the width of the {tower} tower, {width}")
            return Choice(value, why)
    if width % HEAD_WIDTH == 0 and family.has_one_activation:
        return Choice(HEAD_WIDTH, f"as in the code of {family.name}")
    if tower == "vision" and width in OPEN_CLIP_HEAD_WIDTHS:
        value, model = OPEN_CLIP_HEAD_WIDTHS[width]
        return Choice(value, f"as {model}, the model of this width, has")
    if width % HEAD_WIDTH == 0 and width <= WIDEST[tower]:
        return Choice(HEAD_WIDTH, "as the known CLIPs up to this width have")
    raise ValueError(
        f"the {tower} tower is {width} wide, as no known CLIP, and its tensors do not tell how many heads it has; "
        f"give --{option}, in Python {option} (64 in most CLIPs; 80 in ViT-H, 88 in ViT-g, 104 in ViT-bigG)"
    )
