"""Names and shapes of OpenAI's CLIP code, and transformers' names for them.

All layouts compute the same embeddings: projected class token, projected token of the highest id.
"""

import re
from collections.abc import Iterable, Mapping

import torch

from modeling_prompt_clip.conversion.layout import OpenAILayout
from modeling_prompt_clip.folder_checks import one_line, tensor_fault

__all__ = ["clip_tensors", "count_layers", "source_name"]

_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)")
_LAYER = re.compile(r"(\w+)_model\.encoder\.layers\.(\d+)\.(.+)")
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
_OURS = {"vision": _VISION | {"proj": _PROJECTIONS["proj"]}, "text": _TEXT}
_OURS["text"] = _TEXT | {"text_projection": _PROJECTIONS["text_projection"]}
# in a text tower whose names begin with those of the whole CLIP, these begin the tower's own
_TEXT_PARTS = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")
_BUFFERS = ("attn_mask", "embeddings.position_ids")  # of fixed content: the causal mask, and 0, 1, 2, ...
_STEERS = re.compile(r"adapter|lora_|prompt|(^|\.)vpt", re.IGNORECASE)


def clip_tensors(
    tensors: Mapping[str, torch.Tensor], layout: OpenAILayout
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Rename the CLIP's tensors as transformers', in float32; list the others.

    Raises ValueError: a tensor that changes embeddings but has no place in CLIP, or one that is not plain finite
    numbers.
    """
    converted: dict[str, torch.Tensor] = {}
    dropped: list[str] = []
    for name, tensor in tensors.items():
        ours = _transformers_names(name, layout) if layout.is_transformers else _converted_names(name, layout)
        if ours:
            value = _plain(name, tensor)
            converted.update(zip(ours, _parts(name, value, ours, layout), strict=True))
        else:
            _check_that_embeddings_do_without(name, layout)
            dropped.append(name)
    return converted, dropped


def count_layers(names: Iterable[str], tower: str) -> int:
    """Layers of the `"vision"` or `"text"` tower, by the highest index."""
    layers = [int(match[2]) for name in names if (match := _LAYER.fullmatch(name)) and match[1] == tower]
    return max(layers, default=-1) + 1


def source_name(ours: str, layout: OpenAILayout) -> str:
    """Return the checkpoint's name of a tensor in transformers' names."""
    if layout.is_transformers:
        return f"{layout.start}{ours}"
    if match := _LAYER.fullmatch(ours):
        tower, layer, rest = match.groups()
        part, _, kind = rest.rpartition(".")
        parts = {new: old for old, new in _IN_BLOCK.items()}
        inner = f"{parts[part]}.{kind}" if part in parts else f"attn.in_proj_{kind}"
        return f"{getattr(layout, tower)}transformer.resblocks.{layer}.{inner}"
    for tower, table in _OURS.items():
        for theirs, name in table.items():
            if name == ours:
                return f"{getattr(layout, tower)}{theirs}"
    return f"{layout.start}{ours}"


def _transformers_names(name: str, layout: OpenAILayout) -> list[str]:
    ours = name.removeprefix(layout.start)
    in_a_layer = _LAYER.fullmatch(ours)
    is_known = ours in _names_but_of_layers() or (in_a_layer and _is_of_a_layer(in_a_layer[3]))
    return [ours] if name.startswith(layout.start) and is_known else []


def _names_but_of_layers() -> set[str]:
    return {name for table in _OURS.values() for name in table.values()} | {"logit_scale"}


def _is_of_a_layer(name: str) -> bool:
    part, _, kind = name.rpartition(".")
    attention = [f"self_attn.{side}_proj" for side in "qkv"]
    return part in (*_IN_BLOCK.values(), *attention) and kind in ("weight", "bias")


def _converted_names(name: str, layout: OpenAILayout) -> list[str]:
    """A tensor's new name, three for fused projections, none for foreign ones."""
    if name == f"{layout.start}logit_scale":
        return ["logit_scale"]
    # the text tower's names may begin with nothing: the longer beginning is tried first
    for start, tower in ((layout.vision, "vision"), (layout.text, "text")):
        rest = name.removeprefix(start)
        if not name.startswith(start):
            continue
        if rest in _OURS[tower]:
            return [_OURS[tower][rest]]
        if match := _BLOCK.fullmatch(rest):
            return _names_in_layer(f"{tower}_model.encoder.layers.{int(match[1])}.", match[2])
    return []


def _names_in_layer(start: str, rest: str) -> list[str]:
    part, _, kind = rest.rpartition(".")
    if part in _IN_BLOCK and kind in ("weight", "bias"):
        return [f"{start}{_IN_BLOCK[part]}.{kind}"]
    if rest in ("attn.in_proj_weight", "attn.in_proj_bias"):
        return [f"{start}self_attn.{side}_proj.{rest.rpartition('_')[2]}" for side in "qkv"]
    return []


def _parts(name: str, tensor: torch.Tensor, ours: list[str], layout: OpenAILayout) -> list[torch.Tensor]:
    if ours == ["logit_scale"]:
        if tensor.numel() != 1:
            raise ValueError(
                f"{one_line(name)} in the checkpoint has the shape {tuple(tensor.shape)}; it must be one number"
            )
        return [tensor.reshape(())]
    if len(ours) == 3:
        if tensor.shape[:1].numel() % 3:
            raise ValueError(
                f"{name} in the checkpoint has the shape {tuple(tensor.shape)}; its first side must be three times "
                "the width, for queries, keys and values"
            )
        return [part.contiguous() for part in tensor.chunk(3)]
    if not layout.is_transformers and ours[0] in _PROJECTIONS.values():
        if tensor.ndim != 2:
            raise ValueError(
                f"{one_line(name)} in the checkpoint has the shape {tuple(tensor.shape)}; it must be a matrix"
            )
        return [tensor.T.contiguous()]
    return [tensor]


def _plain(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Copy to dense, contiguous float32; refuse non-finite and complex tensors."""
    fault = None
    if tensor.is_quantized or not tensor.is_floating_point():
        fault = f"is {tensor.dtype}: weights must be floating-point numbers; convert the weights before quantisation"
    elif unusual := tensor_fault(tensor):
        fault = unusual
    elif not tensor.numel():
        fault = f"is empty: its shape is {tuple(tensor.shape)}"
    else:
        value = tensor.detach().float().contiguous()
        if torch.isfinite(value).all():
            return value
        fault = "holds NaN or infinity: the run that wrote it had diverged; take an earlier checkpoint"
    raise ValueError(f"{one_line(name)} in the checkpoint {fault}")


def _check_that_embeddings_do_without(name: str, layout: OpenAILayout) -> None:
    """Raise ValueError for tensors inside a tower, or that steer one."""
    if name.endswith(_BUFFERS) or not name.startswith(layout.start):
        return
    text = (layout.text,) if layout.text != layout.start else tuple(f"{layout.text}{part}" for part in _TEXT_PARTS)
    if name.startswith((layout.vision, *text)) or _STEERS.search(name):
        raise ValueError(
            f"{name} in the checkpoint has no place in CLIP (adapters, prompts, layer scale and other parts inside "
            "the towers), and without it the embeddings would be others: refused"
        )
