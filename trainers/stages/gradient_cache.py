"""Batches larger than memory, by gradient caching (GradCache, arXiv 2101.06983): the gradient of the whole batch.

The towers encode the batch in parts, without gradients. The loss of the whole batch, over all processes, gives the
gradients of the embeddings. Each part is then encoded again, with gradients, and sends its embeddings' share back.
Only one part's activations are in memory at a time; the price is the second encoding.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.checkpoint import get_device_states, set_device_states

from trainers.stages.module import Encoded, Part, StageModule


class GradientCache:
    """Computes the loss and the gradient of a batch, with a part of it in memory at a time.

    Args:
        prepared: the module as the accelerator prepared it.
        module: the same module, unwrapped.
        micro_batch_size: pairs of a part; it need not divide the batch.
    """

    def __init__(
        self, accelerator: Accelerator, prepared: nn.Module, module: StageModule, micro_batch_size: int
    ) -> None:
        self.accelerator = accelerator
        self.prepared = prepared
        self.module = module
        self.micro_batch_size = micro_batch_size

    def backward(self, batch: dict[str, torch.Tensor], batches: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Backpropagate the loss of the global batch, divided by the `batches` of a step; return it and its terms."""
        parts = split(batch, self.micro_batch_size)
        with torch.no_grad():
            words = self.module.masked_words(batch)
        encoded, random_states = self._encode(parts, words)
        with self.accelerator.autocast():
            loss, terms = self.module.compare(encoded, batch)
        # heads and temperatures get their gradients now; processes average them along with the last part's
        self.accelerator.backward(loss / batches)
        gradients = split_gradients(encoded, self.micro_batch_size)
        for number, (part, state) in enumerate(zip(parts, random_states, strict=True)):
            last = number == len(parts) - 1
            wait = contextlib.nullcontext() if last else self.accelerator.no_sync(self.prepared)
            with wait, self._random_numbers(state):
                surrogate, _ = self.prepared(part, Part(gradients[number], words, last))
                surrogate.backward()  # the gradients are scaled already where a gradient scaler is at work
        return loss, terms

    def _encode(
        self, parts: list[dict[str, torch.Tensor]], words: torch.Tensor | None
    ) -> tuple[Encoded, list[tuple[Any, ...]]]:
        """Encode the whole batch as leaves of a new graph; also return the random state before each part."""
        encoded, random_states = [], []
        for part in parts:
            random_states.append((torch.get_rng_state(), *get_device_states(part["input_ids"])))
            # a context for each: autocast keeps lowered weights, and without gradients none that could have one
            with torch.no_grad(), self.accelerator.autocast():
                encoded.append(self.module.encode(part, words))
        images, texts, mlm = zip(*encoded, strict=True)
        whole = Encoded(torch.cat(images), torch.cat(texts), None if words is None else torch.stack(mlm).sum())
        for value in whole:
            if value is not None:
                value.requires_grad_()
        return whole, random_states

    @contextlib.contextmanager
    def _random_numbers(self, state: tuple[Any, ...]) -> Iterator[None]:
        """Use the random state of a part inside the context."""
        on_cpu, devices, on_devices = state
        kind = self.accelerator.device.type
        with torch.random.fork_rng(devices, device_type=kind):
            torch.set_rng_state(on_cpu)
            set_device_states(devices, on_devices, device_type=kind)
            yield


def split(batch: dict[str, torch.Tensor], size: int) -> list[dict[str, torch.Tensor]]:
    """Split a batch into parts of at most `size` pairs."""
    columns = zip(*(rows.split(size) for rows in batch.values()), strict=True)
    return [dict(zip(batch, column, strict=True)) for column in columns]


def split_gradients(encoded: Encoded, size: int) -> list[tuple[torch.Tensor | None, ...]]:
    """Split the gradients of an encoded batch; `mlm` is a sum over the parts, so each has its whole gradient."""
    images, texts, mlm = (None if value is None else value.grad for value in encoded)
    parts = -(-len(encoded.image_embeds) // size)
    columns = ((None,) * parts if rows is None else rows.split(size) for rows in (images, texts))
    return [(image, text, mlm) for image, text in zip(*columns, strict=True)]


__all__ = ["GradientCache", "split", "split_gradients"]
