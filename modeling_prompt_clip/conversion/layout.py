"""Find the CLIP in a checkpoint by tensor names; refuse other models.

IRRA, RDE and MLLM4Text-ReID hold a CLIP in OpenAI's names as `base_model.`, CLIP2TextReID as `base.`; TBPS-CLIP holds
the vision tower as `visual.` and the text tower as `encode_text.`; open_clip's CustomTextCLIP has `text.` instead;
transformers has its own names. Heads beside the towers are not part of CLIP.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from modeling_prompt_clip.conversion.families import Family, family_of_prefix

__all__ = ["OpenAILayout", "find_layout"]

# several, so that a checkpoint that lacks one is still found and the tensor named
_VISION_ANCHORS = ("conv1.weight", "class_embedding", "ln_pre.weight", "ln_post.weight", "proj")
_TEXT_ANCHORS = ("token_embedding.weight", "text_projection", "ln_final.weight")
_TRANSFORMERS_VISION = ("embeddings.patch_embedding.weight", "embeddings.class_embedding", "pre_layrnorm.weight")
_TRANSFORMERS_TEXT = ("embeddings.token_embedding.weight", "final_layer_norm.weight")
_OTHER_MODELS = {
    r"(^|\.)visual\.(layer[1-4]|attnpool)\.": "a CLIP with a ResNet as vision tower",
    r"(^|\.)visual\.(trunk|head)\.": "an open_clip model with a vision tower of timm (SigLIP, EVA, MobileCLIP, ...)",
    r"(^|\.)visual\.(blocks\.|patch_embed\.|rope|norm\.)": "an EVA-CLIP",
    r"(^|\.)text\.transformer\.(?!resblocks)": "an open_clip model with a Hugging Face text tower",
    r"(^|\.)vision_model\.(head\.|embeddings\.patch_embedding\.bias)": "a SigLIP",
    r"(^|\.)(visual_encoder|vision_encoder|text_encoder|text_decoder|[Qq]former)\.": "of the ALBEF and BLIP kind "
    "(BLIP, BLIP-2, RaSa, APTM)",
    r"(^|\.)(image_encoder|prompt_learner)\.": "of the CoOp and CLIP-ReID kind, which has no whole text tower",
    r"(^|\.)text_model\.embeddings\.word_embeddings\.": "a CLIP with another text tower (AltCLIP, Chinese-CLIP)",
}


@dataclass(frozen=True)
class OpenAILayout:
    """Prefixes of the towers in a checkpoint."""

    vision: str  # how the names of the vision tower begin, such as `"base_model.visual."`
    text: str  # how those of the text tower begin, such as `"base_model."`

    @property
    def start(self) -> str:
        """Prefix of the whole CLIP, such as `"base_model."`."""
        return re.sub(r"(visual|vision_model)\.$", "", self.vision)

    @property
    def is_transformers(self) -> bool:
        """Whether names within the towers are transformers'."""
        return self.vision.endswith("vision_model.")

    @property
    def family(self) -> Family:
        """The family with these prefixes."""
        return family_of_prefix(self.vision, self.text)


def find_layout(names: Iterable[str], prefix: str | None = None) -> OpenAILayout:
    """Find the CLIP among tensor names.

    `prefix` starts the CLIP's names, or ends that start; it is needed for several, such as a teacher beside a student.

    Raises ValueError: no CLIP with a vision transformer, or several.
    """
    names = dict.fromkeys(names)
    found = {start: layout for start in _starts(names) if (layout := _layout(names, start))}
    chosen = {start: layout for start, layout in found.items() if prefix is None or _is_meant(start, prefix)}
    if prefix in chosen:
        chosen = {prefix: chosen[prefix]}
    if not chosen:
        if prefix is None:
            _refuse_other_models(names)
        raise ValueError(_nothing_found(names, found, prefix))
    if len(chosen) > 1:
        raise ValueError(f"the checkpoint holds several CLIPs; choose one by prefix: {', '.join(map(repr, chosen))}")
    (layout,) = chosen.values()
    _refuse_other_models(name for name in names if name.startswith((layout.vision, f"{layout.start}text.")))
    return layout


def _starts(names: Iterable[str]) -> list[str]:
    """Prefixes before each vision tower's own name."""
    starts = set()
    for tower, anchors in (("visual.", _VISION_ANCHORS), ("vision_model.", _TRANSFORMERS_VISION)):
        for anchor in anchors:
            end = f"{tower}{anchor}"
            starts |= {name.removesuffix(end) for name in names if name == end or name.endswith(f".{end}")}
    return sorted(starts)


def _layout(names: Iterable[str], start: str) -> OpenAILayout | None:
    if any(f"{start}text_model.{anchor}" in names for anchor in _TRANSFORMERS_TEXT):
        return OpenAILayout(f"{start}vision_model.", f"{start}text_model.")
    for text in (start, f"{start}encode_text.", f"{start}text."):
        if any(f"{text}{anchor}" in names for anchor in _TEXT_ANCHORS):
            return OpenAILayout(f"{start}visual.", text)
    return None


def _is_meant(start: str, prefix: str) -> bool:
    return start == prefix or (bool(prefix) and start.endswith(f".{prefix}"))


def _refuse_other_models(names: Iterable[str]) -> None:
    for name in names:
        for pattern, model in _OTHER_MODELS.items():
            if re.search(pattern, name):
                raise ValueError(
                    f"the checkpoint is {model} (it holds {name}): refused, as only CLIPs with a vision transformer "
                    "and CLIP's own text transformer can be converted"
                )


def _nothing_found(names: Iterable[str], found: Iterable[str], prefix: str | None) -> str:
    where = "" if prefix is None else f" under the prefix {prefix!r}"
    hint = f"; prefixes that hold one: {', '.join(map(repr, found))}" if prefix is not None and found else ""
    return (
        f"the checkpoint holds no CLIP with a vision transformer and a text tower in OpenAI's, open_clip's or "
        f"transformers' names{where}: looked for ...visual.conv1.weight and ...token_embedding.weight; its names "
        f"begin with {', '.join(list(names)[:3])}{hint}"
    )
