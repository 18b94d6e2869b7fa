"""`prompt-clip convert SRC DST`: a checkpoint of other code as a model folder of ours."""

import argparse
import json
import sys
from pathlib import Path

from modeling_prompt_clip.commands.arguments import positive_int
from modeling_prompt_clip.conversion import ConvertedCheckpoint, convert_checkpoint
from modeling_prompt_clip.conversion.convert import OPENAI_TOKENIZER

__all__ = ["main"]

EPILOG = """examples:
  prompt-clip convert IRRA/best.pth irra_cuhk
  prompt-clip convert ViT-B-16_state_dict.pt clip_vit_b16 --tokenizer openai/clip-vit-base-patch16
  prompt-clip evaluate irra_cuhk --data CUHK-PEDES --split test
  prompt-clip train --config cuhk_pedes --data_dir CUHK-PEDES --base_model irra_cuhk"""


def main(argv: list[str] | None = None) -> int:
    """Converts a checkpoint and says what it holds and what was left out.

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
        normalization=args.normalization,
    )
    sys.stdout.write(_as_json(args, converted) if args.json else _as_text(args, converted))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prompt-clip convert",
        description="Make a model folder of a checkpoint in OpenAI's CLIP layout: OpenAI's own state dicts, IRRA, "
        "CLIP2TextReID, RDE (its global branch), MLLM4Text-ReID, TBPS-CLIP. Code inside a checkpoint is never run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="SRC", help="a .pth, .pt or .safetensors file")
    parser.add_argument("target", type=Path, metavar="DST", help="folder to make")
    parser.add_argument(
        "--tokenizer",
        default=OPENAI_TOKENIZER,
        metavar="FOLDER_OR_ID",
        help=f"where CLIP's tokenizer is (default {OPENAI_TOKENIZER}, on the Hub)",
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
        "--normalization",
        choices=("clip", "imagenet"),
        help="statistics of images; by default imagenet for TBPS-CLIP and clip for all others",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def _as_text(args: argparse.Namespace, converted: ConvertedCheckpoint) -> str:
    vision, text = converted.config.vision_config, converted.config.text_config
    height, width = vision.image_height_width
    lines = [
        f"{args.target}: CLIP with {vision.num_hidden_layers} vision layers of {vision.hidden_size} and "
        f"{text.num_hidden_layers} text layers of {text.hidden_size}, embeddings of {converted.config.projection_dim}",
        f"images: {height}x{width} pixels, patches of {vision.patch_size}, normalised by {converted.normalization}",
    ]
    parts = [f"{part} ({count} tensors)" for part, count in converted.dropped_parts().items()]
    lines.append(f"left out, as no part of CLIP: {', '.join(parts) or 'nothing'}")
    return "\n".join(lines) + "\n"


def _as_json(args: argparse.Namespace, converted: ConvertedCheckpoint) -> str:
    answer = {
        "source": str(args.source),
        "target": str(args.target),
        "image_size": list(converted.config.vision_config.image_height_width),
        "normalization": converted.normalization,
        "dropped": converted.dropped,
    }
    return json.dumps(answer, indent=2) + "\n"
