"""`prompt-clip convert SRC DST`: turn a foreign checkpoint into a model folder."""

import argparse
import json
import sys

from dataset_scripts.common.files import check_output
from dataset_scripts.common.parsers.convert import parse
from modeling_prompt_clip.conversion import ConvertedCheckpoint, convert_checkpoint
from modeling_prompt_clip.folder_checks import one_line

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Convert a checkpoint and report its content, decisions and dropped tensors.

    Raises ValueError, OSError: see `convert_checkpoint`.
    """
    args = parse(argv)
    check_output(args.target.parent, "the target's folder")
    converted = convert_checkpoint(
        args.source,
        args.target,
        tokenizer=args.tokenizer,
        image_size=tuple(args.image_size) if args.image_size else None,
        prefix=args.prefix,
        activation=args.activation,
        head_width=args.head_width,
        text_head_width=args.text_head_width,
        normalization=args.normalization,
        resample=args.resample,
        captions=args.captions,
    )
    sys.stdout.write(_as_json(args, converted) if args.json else _as_text(args, converted))
    return 0


def _as_text(args: argparse.Namespace, converted: ConvertedCheckpoint) -> str:
    vision, text = converted.config.vision_config, converted.config.text_config
    shown = _shown(converted)
    lines = [
        f"{args.target}: CLIP with {vision.num_hidden_layers} vision layers of {vision.hidden_size} and "
        f"{text.num_hidden_layers} text layers of {text.hidden_size}, embeddings of {converted.config.projection_dim}",
        *(f"  {name:<16} {value} ({converted.choices[name].why})" for name, value in shown.items()),
        f"  {'tokenizer':<16} {converted.tokenizer}",
    ]
    lines += [f"assumed: {name} {shown[name]}: {why}" for name, why in _assumed(converted).items()]
    parts = [
        f"{one_line(part)} ({count} {'tensor' if count == 1 else 'tensors'})"
        for part, count in converted.dropped_parts().items()
    ]
    lines.append(f"left out, as no part of CLIP: {', '.join(parts) or 'nothing'}")
    return "\n".join(lines) + "\n"


def _shown(converted: ConvertedCheckpoint) -> dict[str, str]:
    values = {name: choice.value for name, choice in converted.choices.items()}
    height, width = values["image_size"]
    patch_size = converted.config.vision_config.patch_size
    values["image_size"] = f"{height}x{width}, patches of {patch_size}"
    values["head_width"] = f"{values['head_width']}, {converted.config.vision_config.num_attention_heads} heads"
    values["text_head_width"] = (
        f"{values['text_head_width']}, {converted.config.text_config.num_attention_heads} heads"
    )
    return {name: str(value) for name, value in values.items()}


def _assumed(converted: ConvertedCheckpoint) -> dict[str, str]:
    """Assumptions by name, and how to override them."""
    assumed = {name: choice.why for name, choice in converted.choices.items() if choice.is_assumed}
    if "image_size" in assumed:
        others = ", ".join(f"{height} {width}" for height, width in converted.other_image_sizes)
        assumed["image_size"] += f"; as many patches have: {others}. Convert with --image_size for one of them"
    return assumed


def _as_json(args: argparse.Namespace, converted: ConvertedCheckpoint) -> str:
    answer = {
        "source": str(args.source),
        "target": str(args.target),
        "layout": {"vision": converted.layout.vision, "text": converted.layout.text},
        **{name: choice.value for name, choice in converted.choices.items()},
        "image_size": list(converted.choices["image_size"].value),
        "other_image_sizes": [list(size) for size in converted.other_image_sizes],
        "tokenizer": converted.tokenizer,
        "why": {name: choice.why for name, choice in converted.choices.items()},
        "assumed": _assumed(converted),
        "dropped": converted.dropped,
    }
    return json.dumps(answer, indent=2) + "\n"
