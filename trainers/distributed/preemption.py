"""A request to stop, of a cluster or a user: noticed at once, answered between two steps."""

import os
import signal
import time
from types import FrameType

import torch
from accelerate import Accelerator
from accelerate.utils import reduce

from modeling_prompt_clip.retrieval.workers import REQUESTS

_ECHO = 2.0  # seconds in which a launcher may pass on what the terminal sent to all processes


class Preempted(Exception):  # noqa: N818 - nothing is wrong
    """The run was asked to stop and has saved a checkpoint; the message says how to resume."""


class StopRequest:
    """Context manager that remembers SIGTERM, SIGUSR1 and SIGINT and restores the handlers.

    Processes get the signal at different moments but must stop after the same step, so `agreed` asks all of them, a
    small exchange. A second SIGINT raises KeyboardInterrupt at once. Signals can be caught only in the main thread.

    Args:
        accelerator: of the run.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.heard = False
        self.interrupted: float | None = None  # when Ctrl-C was pressed first, by a monotonic clock
        self._before: dict[signal.Signals, signal.Handlers] = {}

    def __enter__(self) -> "StopRequest":
        for number in REQUESTS:
            try:
                self._before[number] = signal.signal(number, self._hear)
            except ValueError:  # not the main thread
                break
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def agreed(self) -> bool:
        """Whether any process was asked to stop; all must call it after the same step."""
        if self.accelerator.num_processes == 1:
            return self.heard
        heard = torch.tensor(float(self.heard), device=self.accelerator.device)
        return bool(reduce(heard, reduction="sum") > 0)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.heard = True
        if number != signal.SIGINT:
            return
        now = time.monotonic()
        if self.interrupted is None:
            self.interrupted = now
            if self.accelerator.is_main_process:  # a handler may not print: the interrupted code may be printing
                os.write(2, b"\nCtrl-C: saving after this step; press it again to stop at once\n")
        elif self.accelerator.num_processes == 1 or now - self.interrupted > _ECHO:
            raise KeyboardInterrupt


__all__ = ["Preempted", "StopRequest"]
