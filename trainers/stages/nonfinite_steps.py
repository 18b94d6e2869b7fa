"""Steps whose loss or gradient is not finite: counted, and too many in a row stop the run, naming their images."""

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


class BadSteps:
    """Counts the steps that were skipped, and stops the run after too many in a row.

    Whether a step was bad is known to the device long before it is known here: reading it would make the device wait
    for its next work. So the answers are read in groups, at most `most` steps after the fact; skipping itself does not
    wait for them. The loss and the gradient are those of all processes, and so every process gets the same answers.

    Args:
        stage: name of the stage, for messages.
        most: as many bad steps in a row stop the run, 1 or more.
        report: where the images of these steps are written then, as JSON.
        image_names: name of each `image_id`, for the report; without them it has the numbers.

    Raises:
        ValueError, TypeError: `most` is out of range or no integer.
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
        """Take note of a step.

        Args:
            number: of the step, 1 or more.
            finite: boolean scalar, whether loss and gradient were.
            image_ids: `(batch,)` of this process, the same number on every process.

        Raises:
            ValueError, OSError: as [`read`], which is called once in `most` steps.
        """
        self._unread.append(_Step(number, finite, image_ids))
        if len(self._unread) >= self.most:
            self.read()

    def read(self) -> int:
        """Look at all steps so far, which waits for the device; returns how many were skipped.

        All processes must call it after the same step.

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
        """What a run that goes on has to know, the same on every process; looks at all steps first, as `read` does."""
        return {"skipped": self.read(), "in_a_row": [[number, images] for number, images in self._in_a_row]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.skipped = state["skipped"]
        self._in_a_row = [(number, images) for number, images in state["in_a_row"]]

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


__all__ = ["BadSteps"]
