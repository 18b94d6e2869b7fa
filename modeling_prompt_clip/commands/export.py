"""`prompt-clip export MODEL --output FOLDER`: write both towers as ONNX."""

import argparse
import json
import sys

from dataset_scripts.common.files import check_output
from dataset_scripts.common.parsers.export import parse
from modeling_prompt_clip.export import OnnxExport, export_onnx
from modeling_prompt_clip.loading import load_model

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Export a model and report files and deviations from torch.

    Raises ValueError, TypeError, OSError: see `load_model` and `export_onnx`.
    """
    args = parse(argv)
    if args.output.exists():
        raise FileExistsError(f"--output {args.output} exists; name a folder that does not")
    check_output(args.output.parent, "--output")
    model, processor = load_model(args.model, image_size=tuple(args.image_size) if args.image_size else None)
    exported = export_onnx(model, processor, args.output)
    sys.stdout.write(_as_json(args, exported) if args.json else _as_text(exported))
    return 0


def _as_text(exported: OnnxExport) -> str:
    width = max(map(len, exported.files))
    lines = [f"{exported.folder}:"]
    for name, size in exported.files.items():
        lines.append(f"  {name.ljust(width)}  {size / 1e6:>8.2f} MB{_about(exported, name)}")
    return "\n".join(lines) + "\n"


def _about(exported: OnnxExport, name: str) -> str:
    """Describe a graph's input and deviation; empty for other files."""
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
