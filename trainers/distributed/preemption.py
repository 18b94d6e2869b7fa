"""A cluster's request to stop: noticed at once, answered between two steps."""

import signal
from types import FrameType

import torch
from accelerate import Accelerator
from accelerate.utils import reduce

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Preempted(Exception):  # noqa: N818 - nothing is wrong
    """The run was asked to stop and has saved a checkpoint; the message says how to resume."""


class StopRequest:
    """Context manager that remembers SIGTERM and SIGUSR1 and restores the handlers.

    Processes get the signal at different moments but must stop after the same step, so `agreed` asks all of them, a
    small exchange. Signals can be caught only in the main thread.

    Args:
        accelerator: of the run.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.heard = False
        self._before: dict[signal.Signals, signal.Handlers] = {}

    def __enter__(self) -> "StopRequest":
        for number in _SIGNALS:
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


__all__ = ["Preempted", "StopRequest"]
