"""`prompt-clip convert SRC DST`: a checkpoint of other code as a model folder of ours."""

import argparse
import json
import sys
from pathlib import Path

from modeling_prompt_clip.commands.arguments import positive_int
from modeling_prompt_clip.conversion import ConvertedCheckpoint, convert_checkpoint
from modeling_prompt_clip.conversion.convert import OPENAI_TOKENIZER, RESAMPLES
from modeling_prompt_clip.conversion.families import ACTIVATIONS, NORMALIZATIONS
from modeling_prompt_clip.conversion.tokenizer_file import CAPTION_RULES

__all__ = ["main"]

EPILOG = """examples:
  prompt-clip convert IRRA/best.pth irra_cuhk --tokenizer IRRA/data/bpe_simple_vocab_16e6.txt.gz
  prompt-clip convert ViT-B-16_state_dict.pt clip_vit_b16 --tokenizer openai/clip-vit-base-patch16
  prompt-clip convert laion/open_clip_model.safetensors laion_vit_h --activation gelu
  prompt-clip evaluate irra_cuhk --data CUHK-PEDES --split test
  prompt-clip train --config cuhk_pedes --data_dir CUHK-PEDES --base_model irra_cuhk"""


def main(argv: list[str] | None = None) -> int:
    """Converts a checkpoint and says what it holds, what was decided and why, and what was left out.

    Raises:
        ValueError, OSError: see `convert_checkpoint`.
    """
    args = _parser().parse_args(argv)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prompt-clip convert",
        description="Make a model folder of a checkpoint: OpenAI's CLIP, open_clip, IRRA, CLIP2TextReID, RDE (its "
        "global branch), MLLM4Text-ReID, TBPS-CLIP, or a state dict of transformers' CLIP. Code inside a checkpoint "
        "is never run. What an option does not say comes from the checkpoint, from open_clip_config.json beside it, "
        "or from the code of its family; the answer says which.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="SRC", help="a .pth, .pt, .bin or .safetensors file")
    parser.add_argument("target", type=Path, metavar="DST", help="folder to make")
    parser.add_argument(
        "--tokenizer",
        default=OPENAI_TOKENIZER,
        metavar="FILE_FOLDER_OR_ID",
        help="CLIP's tokenizer: bpe_simple_vocab_16e6.txt.gz, which needs no network, a folder, or a Hub id "
        f"(default {OPENAI_TOKENIZER}, on the Hub)",
    )
    parser.add_argument(
        "--image_size",
        type=positive_int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="pixels that it was trained at, where that is neither a square nor three times as high as wide",
    )
    parser.add_argument("--prefix", help="how the CLIP's names begin, where there are several: base_model.")
    parser.add_argument(
        "--activation",
        choices=ACTIVATIONS,
        help="quick_gelu in OpenAI's CLIPs and what is made of them, gelu in most of open_clip's (LAION, DataComp)",
    )
    parser.add_argument(
        "--head_width", type=positive_int, help="of the vision tower's attention heads, where no known CLIP is so wide"
    )
    parser.add_argument("--text_head_width", type=positive_int, help="of the text tower's attention heads, likewise")
    parser.add_argument(
        "--normalization",
        choices=tuple(NORMALIZATIONS),
        help="statistics of images; by default imagenet for TBPS-CLIP and clip for all others",
    )
    parser.add_argument(
        "--resample", choices=RESAMPLES, help="how images are resized; by default as in the code of the family"
    )
    parser.add_argument(
        "--captions",
        choices=CAPTION_RULES,
        help="tbps_clip drops punctuation, by default for TBPS-CLIP; clip leaves captions to CLIP's tokenizer",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


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
        f"{part} ({count} {'tensor' if count == 1 else 'tensors'})"
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
    """What may be wrong, by name, and how to choose another."""
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
