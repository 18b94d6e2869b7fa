"""`prompt-clip export MODEL --output FOLDER`: both towers as ONNX, with what prepares their inputs."""

import argparse
import json
import sys
from pathlib import Path

from modeling_prompt_clip.commands.arguments import positive_int
from modeling_prompt_clip.export import OnnxExport, export_onnx
from modeling_prompt_clip.loading import load_model

__all__ = ["main"]

EPILOG = """examples:
  prompt-clip export runs/demo --output demo_onnx
  python docs/examples/search_with_onnxruntime.py demo_onnx photos "a woman in a red coat"
"""


def main(argv: list[str] | None = None) -> int:
    """Exports a model and says which files there are and how far they are from torch.

    Raises:
        ValueError, TypeError, OSError: see `load_model` and `export_onnx`.
    """
    args = _parser().parse_args(argv)
    if args.output.exists():
        raise FileExistsError(f"--output {args.output} exists; name a folder that does not")
    model, processor = load_model(args.model, image_size=tuple(args.image_size) if args.image_size else None)
    exported = export_onnx(model, processor, args.output)
    sys.stdout.write(_as_json(args, exported) if args.json else _as_text(exported))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prompt-clip export",
        description="Write the text and the image tower as ONNX, in float32 with any batch size, beside the "
        "tokenizer and the settings for images. onnxruntime checks both against torch before the folder appears.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a PromptCLIP or CLIP folder, an adapter folder, a run folder, a Hub id, or stand-in, the one built in",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="folder to make")
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="of the towers (default onnx)")
    parser.add_argument(
        "--image_size",
        type=positive_int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="pixels, where the model is to take other images than those it was made for",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def _as_text(exported: OnnxExport) -> str:
    width = max(map(len, exported.files))
    lines = [f"{exported.folder}:"]
    for name, size in exported.files.items():
        lines.append(f"  {name.ljust(width)}  {size / 1e6:>8.2f} MB{_about(exported, name)}")
    return "\n".join(lines) + "\n"


def _about(exported: OnnxExport, name: str) -> str:
    """What a graph takes and how exact it is; nothing for other files."""
    if name not in exported.deviations:
        return ""
    shape = " x ".join(map(str, exported.inputs[name]))
    return f"  takes {shape}; embeddings at most {exported.deviations[name]:.1e} from torch's"


def _as_json(args: argparse.Namespace, exported: OnnxExport) -> str:
    answer = {
        "model": args.model,
        "format": args.format,
        "folder": str(exported.folder),
        "files": exported.files,
        "inputs": exported.inputs,
        "largest_deviation": exported.deviations,
    }
    return json.dumps(answer, indent=2) + "\n"
