"""Trainable deep prompts for CLIP: the PEFT method `CLIP_PROMPT`, which fills the slots of the model's layers."""

import importlib
from functools import wraps
from typing import Any

import torch
from peft import PeftModel
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, check_adapters_to_merge
from peft.utils import PeftType, register_peft_method
from torch import nn
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer

from .configuration_clip_prompt import CLIP_PROMPT, ClipPromptConfig, check_base_model, check_base_towers
from .configuration_prompt_clip import TOWERS, prompt_settings, validate_prompt_settings
from .prompted_layers import PromptSlot, add_prompt_slots


class ClipPromptLayer(nn.Module, BaseTunerLayer):
    """The tuner layer: trainable prompts of each adapter, after a [`PromptSlot`]'s fixed ones.

    An adapter's prompts are parameters of the layer, or a learned projection of its prompts in another layer.
    """

    adapter_layer_names = ("clip_prompt_embeddings", "clip_prompt_projections")

    def __init__(self, base_layer: PromptSlot) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.clip_prompt_embeddings = nn.ParameterDict()
        self.clip_prompt_projections = nn.ModuleDict()
        # what is projected, in a tuple: as a submodule it would be saved twice
        self.coupled_to: tuple[ClipPromptLayer, ...] = ()
        self.merged_adapters: list[str] = []

    def add_prompts(self, adapter_name: str, length: int, init_std: float, inference_mode: bool) -> None:
        """Add `length` prompts, drawn from N(0, `init_std`), under an adapter's name."""
        fixed = self.base_layer.weight
        # drawn on the CPU, so that every device starts from the same prompts
        drawn = nn.init.normal_(torch.empty(length, fixed.shape[1], dtype=fixed.dtype), std=init_std)
        self.clip_prompt_embeddings[adapter_name] = nn.Parameter(drawn.to(fixed.device))
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def couple(self, adapter_name: str, source: "ClipPromptLayer", inference_mode: bool) -> None:
        """Make an adapter's prompts a projection of those that it has in `source`, of the same number.

        The projection starts with entries of variance 1 / inputs and without bias, so that its prompts start with
        the spread of those that it projects; MaPLe's starts as torch's `Linear`, mostly from its bias.
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
        """The prompts of one of the layer's adapters, `(length, hidden_size)`."""
        if adapter_name in self.clip_prompt_embeddings:
            return self.clip_prompt_embeddings[adapter_name]
        (source,) = self.coupled_to
        prompts = source.clip_prompt_embeddings[adapter_name]
        with torch.autocast(prompts.device.type, enabled=False):  # as exact as prompts that are parameters
            return self.clip_prompt_projections[adapter_name](prompts)

    def length(self, adapter_name: str) -> int:
        """How many prompts one of the layer's adapters has."""
        source = self if adapter_name in self.clip_prompt_embeddings else self.coupled_to[0]
        return len(source.clip_prompt_embeddings[adapter_name])

    def forward(self) -> torch.Tensor | None:
        """Fixed prompts, then those of the active adapters, `(length, hidden_size)`; `None` if there are none."""
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
        """Those of the adapters that prompt this layer and are not merged into its slot."""
        known = {*self.clip_prompt_embeddings, *self.clip_prompt_projections}
        return [name for name in adapter_names if name in known and name not in self.merged_adapters]

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Append the prompts of the adapters to the slot's fixed ones.

        Raises:
            ValueError: with `safe_merge`, prompts that are not finite.
        """
        for name in self.unmerged(check_adapters_to_merge(self, adapter_names)):
            prompts = self.prompts(name)
            if safe_merge and not torch.isfinite(prompts).all():
                raise ValueError(f"adapter {name!r} holds NaN or infinite prompts; it was not merged")
            self.base_layer.set_prompts(torch.cat([self.base_layer.weight, prompts.to(self.base_layer.weight)]))
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Take the merged prompts out of the slot again, the last first."""
        while self.merged_adapters:
            length = self.length(self.merged_adapters.pop())
            self.base_layer.set_prompts(self.base_layer.weight[: len(self.base_layer.weight) - length])


def check_placement(model: nn.Module) -> None:
    """Refuse a base model in which accelerate's `device_map` would silently keep prompts from working.

    An adapter that is read into an offloaded model stays at its random start. A plain CLIP's layer whose `forward`
    accelerate has replaced goes on as before when it is given a prompt slot, even after its hook was removed.

    Raises:
        ValueError: weights are offloaded, or the layers of a plain CLIP are, or were, spread over devices.
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


class ClipPromptModel(BaseTuner):
    """The tuner: puts a [`ClipPromptLayer`] into the prompt slots of a PromptCLIP or of a plain CLIP."""

    prefix = "clip_prompt_"
    tuner_layer_cls = ClipPromptLayer
    target_module_mapping: dict[str, list[str]] = {}

    def _prepare_adapter_config(self, peft_config: ClipPromptConfig, model_config: dict[str, Any]) -> ClipPromptConfig:
        """Check the adapter against the model, record the model's sizes, and infer the slots.

        Raises:
            ValueError: no CLIP with both towers, images or towers of another size, or a prompted layer that does not
                exist.
        """
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

    def _prepare_model(self, peft_config: ClipPromptConfig, model: nn.Module) -> None:
        check_placement(model)
        add_prompt_slots(model)

    def _create_and_replace(
        self,
        peft_config: ClipPromptConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        layer = target if isinstance(target, ClipPromptLayer) else ClipPromptLayer(target)
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
        """Refuse a merge into a model that could not save it.

        Raises:
            ValueError: the base is a plain CLIPModel, whose checkpoint has no place for prompts.
        """
        super()._check_merge_allowed()
        if not self._keeps_prompts():
            raise ValueError(
                f"cannot merge prompts into {type(self.model).__name__}: its save_pretrained would drop them. Load "
                "the base with PromptCLIPModel.from_clip(base, image_size=...), put the adapter on that with "
                "PeftModel.from_pretrained, and merge there"
            )

    def _keeps_prompts(self) -> bool:
        """Whether the base model has slots that its checkpoint saves: a PromptCLIP, not a plain CLIP."""
        return hasattr(self.model, "update_prompt_config")

    def _lengths_after_merge(self, tower: str, adapter_names: list[str] | None) -> list[int]:
        """How many prompts each layer's slot holds once these adapters, or the active ones, are merged."""
        lengths = []
        for layer in getattr(self.model, f"{tower}_model").encoder.layers:
            slot, length = layer.prompt, len(layer.prompt.weight)
            if isinstance(slot, ClipPromptLayer):
                names = slot.unmerged(self.active_adapters if adapter_names is None else adapter_names)
                length += sum(slot.length(name) for name in names)
            lengths.append(length)
        return lengths

    def _unload_and_optionally_merge(self, merge: bool = True, **kwargs: Any) -> nn.Module:
        """Unload, and keep the model's configuration true to its slots.

        Raises:
            ValueError: the layers of a tower would hold different numbers of prompts; nothing was merged then.
        """
        if merge and self._keeps_prompts():
            for tower in TOWERS:
                prompt_settings(tower, self._lengths_after_merge(tower, kwargs.get("adapter_names")))
        model = super()._unload_and_optionally_merge(merge=merge, **kwargs)
        if self._keeps_prompts():
            model.update_prompt_config()
        return model

    @torch.no_grad()
    def initialize_from_activations(
        self, input_ids: torch.Tensor, pixel_values: torch.Tensor, adapter_name: str = "default"
    ) -> None:
        """Start an adapter's prompts from hidden states of the frozen model, in place.

        Prompt i of text layer l becomes the mean of the i-th of `text_prompt_length` equal runs of the phrase's states
        at that layer's input; prompt i of vision layer l the mean patch state of the i-th horizontal stripe of the
        images. N(0, `init_std`) is added, so that no two prompts start alike.

        Args:
            input_ids: `(1, tokens)`, a phrase such as "a photo of a person", without padding.
            pixel_values: `(batch, channels, height, width)`, a calibration batch of the target domain.
            adapter_name: the adapter to initialise.

        Raises:
            ValueError: the adapter's vision prompts are projections of its text prompts.
        """
        if self.peft_config[adapter_name].coupled_prompts:
            raise ValueError(
                f"adapter {adapter_name!r} has coupled_prompts: its vision prompts are a projection of the text "
                "prompts and cannot start from images; train it from its normal draw"
            )
        was_training = self.model.training
        self.model.eval()
        self.disable_adapter_layers()
        try:
            text = self.model.text_model(input_ids=input_ids, output_hidden_states=True)
            vision = self.model.vision_model(pixel_values=pixel_values, output_hidden_states=True)
        finally:
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


def register_clip_prompt_method() -> None:
    """Make `CLIP_PROMPT` known to PEFT, once a process.

    PEFT's public `register_peft_method` wants the name among the members of its enum, and Python's enums are closed:
    the member is added by hand, which a test keeps working and which pins PEFT's minor version.
    """
    if CLIP_PROMPT not in PeftType.__members__:
        member = str.__new__(PeftType, CLIP_PROMPT)
        member._name_ = member._value_ = CLIP_PROMPT
        type.__setattr__(PeftType, CLIP_PROMPT, member)
        PeftType._member_map_[CLIP_PROMPT] = PeftType._value2member_map_[CLIP_PROMPT] = member
        PeftType._member_names_.append(CLIP_PROMPT)
    if PeftType(CLIP_PROMPT) not in PEFT_TYPE_TO_CONFIG_MAPPING:
        register_peft_method(
            name=CLIP_PROMPT.lower(), config_cls=ClipPromptConfig, model_cls=ClipPromptModel, prefix="clip_prompt_"
        )


def keep_adapters_private() -> None:
    """Let `push_to_hub` of a PEFT model with prompts of ours make private repositories, once a process.

    The class is PEFT's, which makes the repository before anything of ours is called, and its default is public: the
    method is wrapped for the class. Models with adapters of other methods only go PEFT's own way.
    """
    theirs = PeftModel.push_to_hub
    if getattr(theirs, "keeps_clip_prompts_private", False):
        return

    @wraps(theirs)
    def push_to_hub(self: PeftModel, repo_id: str, **options: Any) -> str:
        if not any(isinstance(config, ClipPromptConfig) for config in self.peft_config.values()):
            return theirs(self, repo_id, **options)
        return importlib.import_module("modeling_prompt_clip.hub").push_adapter(self, repo_id, **options)

    push_to_hub.keeps_clip_prompts_private = True
    PeftModel.push_to_hub = push_to_hub


register_clip_prompt_method()
keep_adapters_private()

__all__ = ["ClipPromptModel"]
