"""The command line of `prompt-clip export`."""

import argparse
from pathlib import Path

from dataset_scripts.common.parsers.shared import add_image_size, add_json, add_model, new_parser

__all__ = ["parse", "parser"]


def parser() -> argparse.ArgumentParser:
    """The parser of `prompt-clip export`."""
    export = new_parser(
        "export",
        "Write the text and the image tower as ONNX, in float32 and for any batch size, with the tokenizer and the "
        "image settings beside them. onnxruntime compares both with torch before the folder appears.",
        """
        prompt-clip export runs/demo --output demo_onnx
        python docs/examples/search_with_onnxruntime.py demo_onnx photos "a woman in a red coat"
        """,
    )
    add_model(export)
    export.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the folder to create")
    export.add_argument("--format", choices=("onnx",), default="onnx", help="file format of the towers (default onnx)")
    add_image_size(export, "pixels, if the model should take another size than it was made for")
    add_json(export)
    return export


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse, or exit with status 2."""
    return parser().parse_args(argv)
