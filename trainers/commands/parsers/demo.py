"""The command line of `prompt-clip demo`."""

import argparse
from collections.abc import Sequence

from dataset_scripts.common.parsers.shared import new_parser

_RESULT = """\
The run folder then holds:
  plots/training_set.png   some of the pictures
  plots/validation.png     R@1 and mAP while training
  plots/ranked_test.png    queries and the images found
  plots/search.png         the answers to three sentences
  adapter/  model/         the prompts of stage one; the final model
  direct/                  the run of direct fine-tuning, for comparison
  gallery/                 the test images as files, to search yourself"""


def parser() -> argparse.ArgumentParser:
    """The parser of `prompt-clip demo`."""
    demo = new_parser(
        "demo",
        "Draw a synthetic person-search set, adapt the small CLIP that ships with us to it in two stages, compare "
        "with zero-shot and direct fine-tuning, and search by sentence. Takes about five minutes on two cores.",
        """
        prompt-clip demo
        prompt-clip search runs/demo --gallery runs/demo/gallery "a woman in a green coat"
        """,
    )
    demo.epilog = f"{_RESULT}\n\n{demo.epilog}"
    demo.add_argument("--output_dir", default="runs/demo", help="the run folder (default runs/demo)")
    demo.add_argument("--overwrite_output_dir", action="store_true", help="replace the run that is there")
    demo.add_argument("--seed", type=int, default=0, help="random seed of training (default 0)")
    return demo


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse, or exit with status 2."""
    return parser().parse_args(argv)


__all__ = ["parse", "parser"]
