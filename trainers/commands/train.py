"""`prompt-clip train --config NAME_OR_FILE`: two-stage training from the command line."""

import logging
import os
import shlex
import sys
from collections.abc import Sequence

from dataset_scripts.common.installing import command_name
from modeling_prompt_clip.retrieval import metrics_table
from trainers.configs.recipes import parse_arguments
from trainers.distributed.launch import RELAUNCHED, relaunch
from trainers.distributed.preemption import Preempted
from trainers.two_stage import TwoStageTrainer

INTERRUPTED = 130

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the settings, train, print the test metrics.

    Raises:
        ValueError, TypeError, OSError: what is wrong with the settings, the data or the run; see [`TwoStageTrainer`].
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    relaunch(argv)  # with --launch, this process becomes the launcher
    trainer = TwoStageTrainer(parse_arguments(argv))
    try:
        metrics = trainer.train()
    except Preempted as stop:
        logger.warning("%s", stop)
        if trainer.accelerator.is_main_process:
            logger.warning("to resume: %s", _resuming(argv))
        return 0 if trainer.stop.interrupted is None else INTERRUPTED
    if metrics and trainer.accelerator.is_main_process:
        sys.stdout.write(metrics_table({name.replace("_", " "): values for name, values in metrics.items()}) + "\n")
    return 0


def _resuming(argv: Sequence[str]) -> str:
    """The command line that resumes this run, with the launch that started it."""
    words = f"{command_name()} train {os.environ.get(RELAUNCHED) or shlex.join(argv)}".rstrip()
    return words if words.endswith("--resume auto") else f"{words} --resume auto"


__all__ = ["main"]
