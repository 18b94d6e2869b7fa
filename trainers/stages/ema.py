"""A moving average of the weights (EMA) beside those that are trained."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from dataset_scripts.common.numbers import check_number


class WeightAverage:
    """Exponential moving average of parameters: after each step, average += (1 - d) * (parameter - average).

    After mean teacher (arXiv 1703.01780). The decay warms up, `d = min(decay, (1 + t) / (10 + t))` after t steps, as
    in TensorFlow's `ExponentialMovingAverage`. torch's `AveragedModel` copies frozen weights too, and its count of
    steps would wait for the device.

    Args:
        parameters: that are trained; the average starts from their values.
        decay: at least 0 and below 1.

    Raises:
        ValueError: the decay is out of range.
        TypeError: it is no number.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        check_number("decay", decay, least=0, below=1)
        self.decay = decay
        self.parameters = list(parameters)
        self.averages = [parameter.detach().clone() for parameter in self.parameters]
        self.steps = torch.zeros((), device=self.parameters[0].device)

    @torch.no_grad()
    def update(self, changed: torch.Tensor) -> None:
        """Add the parameters of a step, unless `changed`, a boolean scalar on their device, is false."""
        self.steps += changed
        decay = ((1 + self.steps) / (10 + self.steps)).clamp(max=self.decay)
        weight = (1 - decay) * changed
        torch._foreach_lerp_(self.averages, self.parameters, [weight] * len(self.averages))

    @contextmanager
    @torch.no_grad()
    def applied(self) -> Iterator[None]:
        """Replace the parameters by their average inside the context."""
        own = [parameter.clone() for parameter in self.parameters]
        torch._foreach_copy_(self.parameters, self.averages)
        try:
            yield
        finally:
            torch._foreach_copy_(self.parameters, own)

    def state_dict(self) -> dict[str, Any]:
        """The averages and the number of steps."""
        return {"averages": self.averages, "steps": self.steps}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`, from any device."""
        torch._foreach_copy_(self.averages, [average.to(self.steps.device) for average in state["averages"]])
        self.steps.copy_(state["steps"])


__all__ = ["WeightAverage"]
