"""A cluster's request to stop: noticed at once, acted upon between two steps."""

import signal
from types import FrameType

import torch
from accelerate import Accelerator
from accelerate.utils import reduce

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Preempted(Exception):  # noqa: N818 - nothing is wrong
    """The run was asked to stop and has saved a checkpoint; the message says how to go on."""


class StopRequest:
    """Remembers SIGTERM and SIGUSR1 while it is entered as a context; handlers are put back at its end.

    Processes hear of the request at different moments, and all must stop after the same step: with several of them,
    `agreed` asks all, which costs a small exchange. Outside the main thread signals cannot be caught and none is.

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
        """Whether any process has been asked to stop. With several processes, all must call it after the same step."""
        if self.accelerator.num_processes == 1:
            return self.heard
        heard = torch.tensor(float(self.heard), device=self.accelerator.device)
        return bool(reduce(heard, reduction="sum") > 0)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.heard = True


__all__ = ["Preempted", "StopRequest"]
