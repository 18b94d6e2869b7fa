"""The tuner of `CLIP_PROMPT`, which fills prompt slots of CLIP's encoder layers."""

from dataclasses import replace
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTuner
from torch import nn
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer

from modeling_prompt_clip.configuration_prompt_clip import TOWERS, prompt_settings, validate_prompt_settings
from modeling_prompt_clip.prompt_tuning.config import DeepPromptConfig, check_base_model, check_base_towers
from modeling_prompt_clip.prompt_tuning.layer import DeepPromptLayer
from modeling_prompt_clip.prompted_layers import add_prompt_slots

__all__ = ["ClipPromptModel", "DeepPromptModel"]

_SHAPE = ("text_prompt_length", "vision_prompt_length", "prompt_layers", "target_modules", "exclude_modules")


def check_placement(model: nn.Module) -> None:
    """Refuse a `device_map` under which prompts would silently not work.

    An adapter loaded into an offloaded model stays at its random start. A plain CLIP layer whose `forward` accelerate
    has replaced ignores its prompt slot, even after the hook is removed.

    Raises ValueError: offloaded weights, or a plain CLIP whose layers are, or were, spread over devices.
    """
    for module in model.modules():
        if getattr(getattr(module, "_hf_hook", None), "offload", False):
            raise ValueError(
                f"the base model ({type(model).__name__}) is offloaded (device_map), where an adapter is not loaded; "
                "load the adapter with modeling_prompt_clip.loading.load_model, save the merged model, and load that "
                "with device_map"
            )
        if type(module) in (CLIPAttention, CLIPEncoderLayer) and "forward" in vars(module):
            raise ValueError(
                f"the layers of this {type(model).__name__} are wrapped (device_map), which would hide prompts from "
                "them; load it as PromptCLIPModel.from_clip(base, image_size=..., device_map=...), or without "
                "device_map"
            )


class DeepPromptModel(BaseTuner):
    """Tuner: puts a [`DeepPromptLayer`] into each prompt slot of a CLIP."""

    prefix = "clip_prompt_"
    tuner_layer_cls = DeepPromptLayer
    target_module_mapping: dict[str, list[str]] = {}

    def _prepare_adapter_config(self, peft_config: DeepPromptConfig, model_config: dict[str, Any]) -> DeepPromptConfig:
        """Check the adapter against the model; record sizes and infer slots."""
        size = check_base_model(model_config)
        check_base_towers(peft_config, model_config)
        depths = {tower: model_config[f"{tower}_config"]["num_hidden_layers"] for tower in TOWERS}
        if peft_config.coupled_prompts and peft_config.prompt_layers is None and len(set(depths.values())) > 1:
            peft_config.prompt_layers = list(range(min(depths.values())))
        for tower, layers in depths.items():
            validate_prompt_settings(tower, peft_config.length_of(tower), peft_config.prompt_layers, layers)
        if peft_config.image_size is not None and list(peft_config.image_size) != size:
            height, width = peft_config.image_size
            raise ValueError(
                f"image_size of the adapter is {height}x{width}, that of the base model {size[0]}x{size[1]}; load the "
                f"base at the adapter's, with PromptCLIPModel.from_clip(base, image_size=({height}, {width}))"
            )
        peft_config.image_size = size
        if peft_config.target_modules is None:
            towers = "|".join(tower for tower in TOWERS if peft_config.length_of(tower))
            layers = "|".join(map(str, peft_config.prompt_layers)) if peft_config.prompt_layers else r"\d+"
            peft_config.target_modules = rf"(?:.*\.)?(?:{towers})_model\.encoder\.layers\.(?:{layers})\.prompt"
        return peft_config

    def _prepare_model(self, peft_config: DeepPromptConfig, model: nn.Module) -> None:
        check_placement(model)
        add_prompt_slots(model)

    def _create_and_replace(
        self,
        peft_config: DeepPromptConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        layer = target if isinstance(target, DeepPromptLayer) else DeepPromptLayer(target)
        tower = "text" if "text_model" in current_key else "vision"
        if peft_config.coupled_prompts and tower == "vision":  # CLIP's text tower comes first, and has its layers
            source = self.model.get_submodule(current_key.replace("vision_model", "text_model"))
            layer.couple(adapter_name, source, peft_config.inference_mode)
        else:
            layer.add_prompts(
                adapter_name, peft_config.length_of(tower), peft_config.init_std, peft_config.inference_mode
            )
        setattr(parent, target_name, layer)

    def _check_merge_allowed(self) -> None:
        """Refuse a plain CLIPModel, whose checkpoint has no place for prompts."""
        super()._check_merge_allowed()
        if not self._keeps_prompts():
            raise ValueError(
                f"cannot merge prompts into {type(self.model).__name__}: its save_pretrained would drop them. Load "
                "the base with PromptCLIPModel.from_clip(base, image_size=...), put the adapter on that with "
                "PeftModel.from_pretrained, and merge there"
            )

    def _keeps_prompts(self) -> bool:
        return hasattr(self.model, "update_prompt_config")

    def _lengths_after_merge(self, tower: str, adapter_names: list[str] | None) -> list[int]:
        """Prompts of each layer once these, or the active, adapters are merged."""
        lengths = []
        for layer in getattr(self.model, f"{tower}_model").encoder.layers:
            slot, length = layer.prompt, len(layer.prompt.weight)
            if isinstance(slot, DeepPromptLayer):
                names = slot.unmerged(self.active_adapters if adapter_names is None else adapter_names)
                length += sum(slot.length(name) for name in names)
            lengths.append(length)
        return lengths

    def _unload_and_optionally_merge(self, merge: bool = True, **kwargs: Any) -> nn.Module:
        """Update the configuration; refuse a merge it cannot express."""
        if merge and self._keeps_prompts():
            for tower in TOWERS:
                prompt_settings(tower, self._lengths_after_merge(tower, kwargs.get("adapter_names")))
        model = super()._unload_and_optionally_merge(merge=merge, **kwargs)
        if self._keeps_prompts():
            model.update_prompt_config()
        return model

    @torch.no_grad()
    def add_weighted_adapter(
        self, adapters: list[str], weights: list[float], adapter_name: str, combination_type: str = "linear"
    ) -> None:
        """Add an adapter whose prompts are the weighted sum of others' prompts.

        Args:
            adapters: adapters of the same lengths and layers, not coupled.
            weights: a factor for each.
            adapter_name: the new adapter.
            combination_type: `"linear"`; prompts know no other.

        Raises ValueError: an unknown adapter or one that does not fit the first, a name that is taken, another number
        of weights, or another combination.
        """
        if combination_type != "linear":
            raise ValueError(f"combination_type is {combination_type!r}; prompts are only combined by 'linear'")
        if len(weights) != len(adapters) or not adapters:
            raise ValueError(f"{len(adapters)} adapters and {len(weights)} weights were given; give one for each")
        if adapter_name in self.peft_config:
            raise ValueError(f"adapter {adapter_name!r} exists; name a new one")
        if unknown := [name for name in adapters if name not in self.peft_config]:
            raise ValueError(f"adapter {unknown[0]!r} is not loaded; there are {', '.join(self.peft_config)}")
        first = self.peft_config[adapters[0]]
        for name in adapters:
            config = self.peft_config[name]
            if config.coupled_prompts or any(getattr(config, part) != getattr(first, part) for part in _SHAPE):
                raise ValueError(f"adapter {name!r} is coupled, or has other lengths or layers than {adapters[0]!r}")
        self.peft_config[adapter_name] = replace(first)
        self.inject_adapter(self.model, adapter_name)
        for layer in self._prompted_layers():
            if adapter_name in (prompts := layer.clip_prompt_embeddings):
                total = sum(weight * prompts[name] for name, weight in zip(adapters, weights, strict=True))
                prompts[adapter_name].copy_(total)

    def _prompted_layers(self) -> list[DeepPromptLayer]:
        return [module for module in self.model.modules() if isinstance(module, DeepPromptLayer)]

    @torch.no_grad()
    def initialize_from_activations(
        self, input_ids: torch.Tensor, pixel_values: torch.Tensor, adapter_name: str = "default"
    ) -> None:
        """Start prompts from hidden states of the frozen model, in place.

        Prompt i of text layer l becomes the mean of the i-th of `text_prompt_length` equal runs of the phrase's states
        at that layer's input; prompt i of vision layer l the mean patch state of the i-th horizontal stripe of the
        images. N(0, `init_std`) is added, so that no two prompts start alike.

        Args:
            input_ids: `(1, tokens)`, a phrase such as "a photo of a person", without padding.
            pixel_values: `(batch, channels, height, width)`, a calibration batch of the target domain.
            adapter_name: the adapter to initialise.

        Raises ValueError: the adapter's vision prompts are projections of its text prompts.
        """
        if self.peft_config[adapter_name].coupled_prompts:
            raise ValueError(
                f"adapter {adapter_name!r} has coupled_prompts: its vision prompts are a projection of the text "
                "prompts and cannot start from images; train it from its normal draw"
            )
        was_training = self.model.training
        disabled = any(layer.disable_adapters for layer in self._prompted_layers())
        self.model.eval()
        self.disable_adapter_layers()
        try:
            text = self.model.text_model(input_ids=input_ids, output_hidden_states=True)
            vision = self.model.vision_model(pixel_values=pixel_values, output_hidden_states=True)
        finally:
            if not disabled:
                self.enable_adapter_layers()
            self.model.train(was_training)
        noise_std = self.peft_config[adapter_name].init_std
        for tower, states in ((self.model.text_model, text), (self.model.vision_model, vision)):
            inputs = states.hidden_states[:-1]  # of each layer; the last hidden state is the tower's output
            for layer, hidden in zip(tower.encoder.layers, inputs, strict=True):
                prompts = getattr(layer.prompt, "clip_prompt_embeddings", {}).get(adapter_name)
                if prompts is None:
                    continue
                means = hidden.mean(0)[1:].float()  # without the SOS or class token
                pooled = nn.functional.adaptive_avg_pool1d(means.T[None], len(prompts))[0].T
                prompts.copy_(pooled + noise_std * torch.randn(pooled.shape).to(pooled))


ClipPromptModel = DeepPromptModel
