"""A moving average of the weights (EMA) beside those that are trained."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from dataset_scripts.common.numbers import check_number


class WeightAverage:
    """Exponential moving average of parameters: after each step, average += (1 - d) * (parameter - average).

    Averages of late weights generalise better than the last ones at a rate that is still high (Polyak averaging; mean
    teacher, arXiv 1703.01780). The decay warms up, `d = min(decay, (1 + t) / (10 + t))` after t steps, as in
    TensorFlow's `ExponentialMovingAverage`: an average that starts from the weights before training would else be
    mostly those in a run of a few hundred steps.

    Nothing here waits for the device: how many steps have changed something is counted there. This is why torch's
    `AveragedModel`, which also copies what is frozen, is not used.

    Args:
        parameters: what is trained; the average starts from their values and lies on their device.
        decay: at least 0 and below 1. About the last `1 / (1 - decay)` steps count.

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
        """Take the parameters of a step into the average.

        Args:
            changed: boolean scalar on the parameters' device; where it is false, the step was skipped and the average
                stays what it is.
        """
        self.steps += changed
        decay = ((1 + self.steps) / (10 + self.steps)).clamp(max=self.decay)
        weight = (1 - decay) * changed
        torch._foreach_lerp_(self.averages, self.parameters, [weight] * len(self.averages))

    @contextmanager
    @torch.no_grad()
    def applied(self) -> Iterator[None]:
        """While this lasts, the parameters have the values of the average; afterwards their own, bit for bit."""
        own = [parameter.clone() for parameter in self.parameters]
        torch._foreach_copy_(self.parameters, self.averages)
        try:
            yield
        finally:
            torch._foreach_copy_(self.parameters, own)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from."""
        return {"averages": self.averages, "steps": self.steps}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same parameters, on whatever device."""
        torch._foreach_copy_(self.averages, [average.to(self.steps.device) for average in state["averages"]])
        self.steps.copy_(state["steps"])


__all__ = ["WeightAverage"]
