"""Trainable prompts in a slot of one encoder layer."""

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import nn

from modeling_prompt_clip.prompted_layers import PromptSlot

__all__ = ["DeepPromptLayer"]


class DeepPromptLayer(nn.Module, BaseTunerLayer):
    """Tuner layer: adapters' trainable prompts after a [`PromptSlot`]'s fixed ones.

    An adapter's prompts are parameters, or a learned projection of its prompts in another layer.
    """

    adapter_layer_names = ("clip_prompt_embeddings", "clip_prompt_projections")

    def __init__(self, base_layer: PromptSlot) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.clip_prompt_embeddings = nn.ParameterDict()
        self.clip_prompt_projections = nn.ModuleDict()
        # what is projected, in a tuple: as a submodule it would be saved twice
        self.coupled_to: tuple[DeepPromptLayer, ...] = ()
        self.merged_adapters: list[str] = []

    def add_prompts(self, adapter_name: str, length: int, init_std: float, inference_mode: bool) -> None:
        """Add an adapter's `length` prompts, drawn from N(0, `init_std`)."""
        fixed = self.base_layer.weight
        # drawn on the CPU, so that every device starts from the same prompts
        drawn = nn.init.normal_(torch.empty(length, fixed.shape[1], dtype=fixed.dtype), std=init_std)
        self.clip_prompt_embeddings[adapter_name] = nn.Parameter(drawn.to(fixed.device))
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def couple(self, adapter_name: str, source: "DeepPromptLayer", inference_mode: bool) -> None:
        """Make an adapter's prompts a projection of its prompts in `source`.

        Weights start with variance 1 / inputs and biases at 0, which keeps the prompts' spread; MaPLe starts as
        torch's `Linear`, dominated by its bias.
        """
        inputs, fixed = source.base_layer.weight.shape[1], self.base_layer.weight
        drawn = nn.init.normal_(torch.empty(fixed.shape[1], inputs, dtype=fixed.dtype), std=inputs**-0.5)
        projection = nn.Linear(inputs, fixed.shape[1], device="meta")
        projection.weight = nn.Parameter(drawn.to(fixed.device))
        projection.bias = nn.Parameter(fixed.new_zeros(fixed.shape[1]))
        self.coupled_to = (source,)
        self.clip_prompt_projections[adapter_name] = projection
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def prompts(self, adapter_name: str) -> torch.Tensor:
        """An adapter's prompts, `(length, hidden_size)`."""
        if adapter_name in self.clip_prompt_embeddings:
            return self.clip_prompt_embeddings[adapter_name]
        (source,) = self.coupled_to
        prompts = source.clip_prompt_embeddings[adapter_name]
        with torch.autocast(prompts.device.type, enabled=False):  # as exact as prompts that are parameters
            return self.clip_prompt_projections[adapter_name](prompts)

    def length(self, adapter_name: str) -> int:
        """Number of an adapter's prompts."""
        source = self if adapter_name in self.clip_prompt_embeddings else self.coupled_to[0]
        return len(source.clip_prompt_embeddings[adapter_name])

    def forward(self) -> torch.Tensor | None:
        """Fixed and active adapters' prompts, `(length, hidden_size)`, or None."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        fixed = self.base_layer()
        prompts = [] if fixed is None else [fixed]
        if not self.disable_adapters:
            prompts += [self.prompts(name) for name in self.unmerged(self.active_adapters)]
        if len(prompts) < 2:
            return prompts[0] if prompts else None
        return torch.cat(prompts)

    def unmerged(self, adapter_names: list[str]) -> list[str]:
        """Filter adapters that prompt this layer and are not merged."""
        known = {*self.clip_prompt_embeddings, *self.clip_prompt_projections}
        return [name for name in adapter_names if name in known and name not in self.merged_adapters]

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Append the adapters' prompts to the slot's fixed ones.

        Raises ValueError: prompts that are not finite, with `safe_merge`.
        """
        for name in self.unmerged(check_adapters_to_merge(self, adapter_names)):
            prompts = self.prompts(name)
            if safe_merge and not torch.isfinite(prompts).all():
                raise ValueError(f"adapter {name!r} holds NaN or infinite prompts; it was not merged")
            self.base_layer.set_prompts(torch.cat([self.base_layer.weight, prompts.to(self.base_layer.weight)]))
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Remove merged prompts from the slot, last first."""
        while self.merged_adapters:
            length = self.length(self.merged_adapters.pop())
            self.base_layer.set_prompts(self.base_layer.weight[: len(self.base_layer.weight) - length])
