"""Names and shapes of OpenAI's CLIP code, in which this field's checkpoints are written.

IRRA, CLIP2TextReID, RDE and MLLM4Text-ReID hold such a CLIP as `base_model.`; TBPS-CLIP holds the vision tower as
`visual.` and the text tower as `encode_text.`. All compute the same embeddings: projected class token, projected token
of the highest id. Heads beside it (identity classifiers, masked-language parts, token selection) are no part of CLIP.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from modeling_prompt_clip.configuration_prompt_clip import PromptCLIPConfig

__all__ = ["OpenAILayout", "clip_tensors", "config_of", "find_layout"]

_PATCHES = "visual.conv1.weight"
_TOKENS = "token_embedding.weight"
_HEAD_WIDTH = 64  # of every CLIP that OpenAI made
_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)")
_IN_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_VISION = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "ln_post.weight": "vision_model.post_layernorm.weight",
    "ln_post.bias": "vision_model.post_layernorm.bias",
}
_TEXT = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
_PROJECTIONS = {"proj": "visual_projection.weight", "text_projection": "text_projection.weight"}  # stored transposed


@dataclass(frozen=True)
class OpenAILayout:
    """Where the towers are in a checkpoint.

    Attributes:
        vision: how the names of the vision tower begin, such as `"base_model.visual."`.
        text: how those of the text tower begin, such as `"base_model."`.
    """

    vision: str
    text: str

    @property
    def imagenet_normalization(self) -> bool:
        """Whether images are normalised by ImageNet's statistics instead of CLIP's, as TBPS-CLIP does."""
        return self.text.endswith("encode_text.")


def find_layout(names: Mapping[str, torch.Tensor], prefix: str | None = None) -> OpenAILayout:
    """Find the CLIP in a checkpoint.

    Args:
        names: of its tensors.
        prefix: how the names of the CLIP begin; needed where there are several, such as a teacher beside a student.

    Raises:
        ValueError: no such CLIP with a vision transformer, or several.
    """
    found = sorted(name.removesuffix(_PATCHES) for name in names if name.endswith(_PATCHES))
    found = [start for start in found if prefix is None or start == prefix]
    texts = {start: _text_prefix(names, start) for start in found}
    found = [start for start in found if texts[start] is not None]
    if not found:
        some = ", ".join(list(names)[:3])
        where = "" if prefix is None else f" under the prefix {prefix!r}"
        raise ValueError(
            f"the checkpoint holds no CLIP with a vision transformer in OpenAI's layout{where}: looked for "
            f"...{_PATCHES} and ...{_TOKENS}; its names begin with {some}"
        )
    if len(found) > 1:
        raise ValueError(f"the checkpoint holds several CLIPs; choose one by prefix: {', '.join(map(repr, found))}")
    return OpenAILayout(f"{found[0]}visual.", texts[found[0]])


def _text_prefix(names: Mapping[str, torch.Tensor], start: str) -> str | None:
    candidates = (start, f"{start}encode_text.")
    return next((candidate for candidate in candidates if candidate + _TOKENS in names), None)


def clip_tensors(
    tensors: Mapping[str, torch.Tensor], layout: OpenAILayout
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The CLIP's tensors under transformers' names, in float32, and the names of those that are no part of it."""
    converted, dropped = {}, []
    for name, tensor in tensors.items():
        ours = _converted(name, tensor, layout)
        if ours is None:
            dropped.append(name)
        else:
            converted.update({key: value.float().contiguous() for key, value in ours.items()})
    return converted, dropped


def _converted(name: str, tensor: torch.Tensor, layout: OpenAILayout) -> dict[str, torch.Tensor] | None:
    """One tensor under its new name, or three; `None` for what is no part of CLIP."""
    if name == layout.text.removesuffix("encode_text.") + "logit_scale":
        return {"logit_scale": tensor.reshape(())}
    # the text tower's names may begin with nothing: the longer beginning is tried first
    for start, tower, table in ((layout.vision, "vision", _VISION), (layout.text, "text", _TEXT)):
        if not name.startswith(start):
            continue
        rest = name.removeprefix(start)
        if rest in table:
            return {table[rest]: tensor}
        if rest in _PROJECTIONS:
            return {_PROJECTIONS[rest]: tensor.T}
        if match := _BLOCK.fullmatch(rest):
            return _block(f"{tower}_model.encoder.layers.{match[1]}.", match[2], tensor)
    return None


def _block(start: str, rest: str, tensor: torch.Tensor) -> dict[str, torch.Tensor] | None:
    """A tensor of a transformer layer; the projections of queries, keys and values are stored as one."""
    part, _, kind = rest.rpartition(".")
    if part in _IN_BLOCK:
        return {f"{start}{_IN_BLOCK[part]}.{kind}": tensor}
    if rest in ("attn.in_proj_weight", "attn.in_proj_bias"):
        names = [f"{start}self_attn.{side}_proj.{rest.rpartition('_')[2]}" for side in "qkv"]
        return dict(zip(names, tensor.chunk(3), strict=True))
    return None


def config_of(tensors: Mapping[str, torch.Tensor], image_size: tuple[int, int] | None = None) -> PromptCLIPConfig:
    """The configuration that converted tensors imply.

    Args:
        tensors: from `clip_tensors`.
        image_size: `(height, width)` in pixels; where left out, a square, or three times as high as wide.

    Raises:
        ValueError: the number of positions belongs to another size, or to none that can be guessed.
    """
    patches = tensors["vision_model.embeddings.patch_embedding.weight"]
    words = tensors["text_model.embeddings.token_embedding.weight"]
    positions = len(tensors["vision_model.embeddings.position_embedding.weight"]) - 1
    return PromptCLIPConfig(
        vision_config={
            **_tower_config(tensors, "vision", patches.shape[0]),
            "patch_size": patches.shape[-1],
            "image_size": list(_image_size(positions, patches.shape[-1], image_size)),
        },
        text_config={
            **_tower_config(tensors, "text", words.shape[1]),
            "vocab_size": words.shape[0],
            "max_position_embeddings": len(tensors["text_model.embeddings.position_embedding.weight"]),
            "bos_token_id": words.shape[0] - 2,
            "eos_token_id": words.shape[0] - 1,
        },
        projection_dim=tensors["text_projection.weight"].shape[0],
    )


def _tower_config(tensors: Mapping[str, torch.Tensor], tower: str, width: int) -> dict[str, int]:
    layers = {match[1] for name in tensors if (match := re.match(rf"{tower}_model\.encoder\.layers\.(\d+)\.", name))}
    return {
        "hidden_size": width,
        "intermediate_size": tensors[f"{tower}_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_attention_heads": max(1, width // _HEAD_WIDTH),
        "num_hidden_layers": len(layers),
    }


def _image_size(positions: int, patch_size: int, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """The size whose patches are as many as the positions."""
    if image_size is not None:
        rows, columns = (side // patch_size for side in image_size)
        if rows * columns != positions:
            raise ValueError(
                f"image_size {list(image_size)} makes {rows} x {columns} patches of {patch_size} pixels, the "
                f"checkpoint has positions for {positions}; give the size that it was trained at"
            )
        return image_size
    for higher in (1, 3):  # 224x224, or 384x128
        columns = math.isqrt(positions // higher)
        if columns * columns * higher == positions:
            return higher * columns * patch_size, columns * patch_size
    raise ValueError(
        f"the checkpoint has positions for {positions} patches of {patch_size} pixels, neither a square nor three "
        "times as high as wide; give the image_size that it was trained at, such as 256 128"
    )
