"""Count the steps whose loss or gradient is not finite, and stop the run after too many in a row."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dataset_scripts.common.files import write_json
from dataset_scripts.common.numbers import check_integer
from trainers.distributed.gather import gather_ids, process_index

logger = logging.getLogger(__name__)


class _Step(NamedTuple):
    """A step that was not looked at yet; both tensors stay on the device."""

    number: int
    finite: torch.Tensor  # boolean, scalar
    image_ids: torch.Tensor  # of this process


class NonfiniteSteps:
    """Counts the steps that were skipped, and stops the run after too many in a row.

    Reading whether a step was finite makes the device wait, so the answers are read in groups of at most `most`; a
    step is skipped without reading them. They are the same on every process.

    Args:
        stage: its name, for messages.
        most: this many skipped steps in a row stop the run.
        report: JSON file for the images of these steps.
        image_names: by `image_id`, for the report.

    Raises ValueError, TypeError: `most` is out of range or no integer.
    """

    def __init__(self, stage: str, most: int, report: Path, image_names: Sequence[str] | None = None) -> None:
        check_integer("max_bad_steps", most, least=1)
        self.stage = stage
        self.most = most
        self.report = report
        self.image_names = image_names
        self.skipped = 0
        self._unread: list[_Step] = []
        self._in_a_row: list[tuple[int, list[int]]] = []  # number and images, of all processes, of each step

    def add(self, number: int, finite: torch.Tensor, image_ids: torch.Tensor) -> None:
        """Note a step, and [`read`] every `most` steps.

        Args:
            number: of the step, from 1.
            finite: boolean scalar, whether loss and gradient were finite.
            image_ids: `(batch,)` of this process, as many on every process.
        """
        self._unread.append(_Step(number, finite, image_ids))
        if len(self._unread) >= self.most:
            self.read()

    def read(self) -> int:
        """Wait for the device and return how many steps were skipped. All processes must call it.

        Raises:
            ValueError: too many in a row; the report is written.
            OSError: the report cannot be written.
        """
        steps, self._unread = self._unread, []
        finite = torch.stack([step.finite for step in steps]).tolist() if steps else []
        for step, good in zip(steps, finite, strict=True):
            if good:
                self._in_a_row = []
                continue
            self.skipped += 1
            self._in_a_row.append((step.number, gather_ids(step.image_ids).tolist()))
            if process_index() == 0:
                logger.warning(
                    "stage %s, step %d: loss or gradient is not finite; the step is skipped (%d so far)",
                    *(self.stage, step.number, self.skipped),
                )
            if len(self._in_a_row) == self.most:
                self._stop()
        return self.skipped

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, the same on every process; calls `read`."""
        return {"skipped": self.read(), "in_a_row": [[number, images] for number, images in self._in_a_row]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore `state`."""
        self.skipped = int(state["skipped"])
        self._in_a_row = [(int(number), [int(image) for image in images]) for number, images in state["in_a_row"]]

    def _stop(self) -> None:
        """Write the images of the steps in a row, of all processes, and raise."""
        first, last = self._in_a_row[0][0], self._in_a_row[-1][0]
        if process_index() == 0:
            batches = [
                {"step": number, "image_ids": [self._name(image) for image in images]}
                for number, images in self._in_a_row
            ]
            write_json(self.report, {"stage": self.stage, "batches": batches})
        raise ValueError(
            f"stage {self.stage}: loss or gradient was not finite in {self.most} steps in a row (max_bad_steps), "
            f"{first} to {last}, and all of them were skipped; the images of their batches are in {self.report}. "
            "Lower the learning rate, train in another precision, or look at these images."
        )

    def _name(self, image_id: int) -> str | int:
        return image_id if self.image_names is None else self.image_names[image_id]


__all__ = ["NonfiniteSteps"]
