"""CLIP's towers on rectangular images, with prompts in each encoder layer."""

import os
from typing import Any

import torch
from torch import nn
from transformers import initialization as init
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import PrefixChange
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling
from transformers.models.clip.modeling_clip import (
    CLIPEncoder,
    CLIPPreTrainedModel,
    CLIPTextEmbeddings,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionEmbeddings,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)
from transformers.utils.generic import can_return_tuple

from .configuration_prompt_clip import PromptCLIPConfig, PromptCLIPTextConfig, PromptCLIPVisionConfig
from .private_uploads import PrivateUploads
from .prompted_layers import PromptCLIPEncoderLayer, PromptSlot


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Convert half precision to float32; return other tensors themselves."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def resize_position_grid(weight: torch.Tensor, old: tuple[int, int], new: tuple[int, int]) -> torch.Tensor:
    """Resize position embeddings from `old` to `new` `(rows, columns)`, bicubically.

    `weight` is `(1 + rows * columns, hidden_size)`, the class position first; it is returned itself if nothing
    changes.
    """
    if old == new:
        return weight
    grid = at_least_float32(weight[1:]).reshape(1, *old, -1).permute(0, 3, 1, 2)
    grid = nn.functional.interpolate(grid, size=new, mode="bicubic", align_corners=False)
    return torch.cat([weight[:1], grid.permute(0, 2, 3, 1).reshape(new[0] * new[1], -1).to(weight.dtype)])


class PromptCLIPVisionEmbeddings(CLIPVisionEmbeddings):
    """CLIP's patch embeddings on a rectangular grid."""

    def __init__(self, config: PromptCLIPVisionConfig) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.embed_dim = config.hidden_size
        self.patch_size = config.patch_size
        self._adopt_image_size()
        self.class_embedding = nn.Parameter(torch.randn(self.embed_dim))
        self.patch_embedding = nn.Conv2d(
            config.num_channels, self.embed_dim, kernel_size=self.patch_size, stride=self.patch_size, bias=False
        )
        self.position_embedding = nn.Embedding(self.num_positions, self.embed_dim)
        self.register_buffer("position_ids", torch.arange(self.num_positions).expand((1, -1)), persistent=False)

    def _adopt_image_size(self) -> None:
        self.image_size, self.grid = self.config.image_height_width, self.config.patch_grid
        self.num_patches = self.grid[0] * self.grid[1]
        self.num_positions = self.num_patches + 1

    def follow_image_size(self) -> None:
        """Resize position embeddings to the configuration's new image size, in place.

        Raises ValueError: the position embeddings are offloaded.
        """
        positions = self.position_embedding.weight
        if positions.is_meta:
            raise ValueError(
                "the position embeddings are offloaded (device_map, or the meta device) and cannot be resized there; "
                "load the model without device_map, resize and save it, and load that with device_map"
            )
        old = self.grid
        self._adopt_image_size()
        resized = resize_position_grid(positions.detach(), old, self.grid)
        self.position_embedding.weight = nn.Parameter(resized, requires_grad=positions.requires_grad)
        self.position_embedding.num_embeddings = self.num_positions
        self.position_ids = torch.arange(self.num_positions, device=self.position_ids.device).expand((1, -1))

    def forward(self, pixel_values: torch.Tensor, interpolate_pos_encoding: bool = False) -> torch.Tensor:
        """Embed normalised images `(batch, channels, height, width)`, the class token first.

        `interpolate_pos_encoding` accepts another size, resizing the positions in each call.

        Raises ValueError: images of another size than the configured one.
        """
        batch, _, height, width = pixel_values.shape
        positions = self.position_embedding(self.position_ids)
        if (height, width) != self.image_size:
            if not interpolate_pos_encoding:
                raise ValueError(
                    f"pixel_values is {height}x{width}, the model takes {self.image_size[0]}x{self.image_size[1]} "
                    "(height x width); resize with the model's processor, or pass interpolate_pos_encoding=True"
                )
            grid = (height // self.patch_size, width // self.patch_size)
            positions = resize_position_grid(positions[0], self.grid, grid)[None]
        patches = self.patch_embedding(pixel_values.to(self.patch_embedding.weight.dtype)).flatten(2).transpose(1, 2)
        return torch.cat([self.class_embedding.expand(batch, 1, -1), patches], dim=1) + positions


class PromptCLIPPreTrainedModel(PrivateUploads, CLIPPreTrainedModel):
    """Weights shared by the PromptCLIP models."""

    config: PromptCLIPConfig
    config_class = PromptCLIPConfig
    _supports_flex_attn = False  # its block masks cannot take the prompts' columns
    _no_split_modules = ["CLIPTextEmbeddings", "PromptCLIPEncoderLayer", "PromptCLIPVisionEmbeddings"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, PromptSlot) and len(module.weight):
            init.normal_(module.weight, std=0.02)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        state_dict: dict[str, torch.Tensor] | None = None,
        push_to_hub: bool = False,
        **options: Any,
    ) -> None:
        """Save as any transformers model; `push_to_hub` uploads privately by default.

        `**options` are for saving, such as `max_shard_size`; with `push_to_hub` also that method's.
        """
        options |= {"is_main_process": is_main_process, "state_dict": state_dict}
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **options)


class PromptCLIPEncoder(CLIPEncoder):
    """CLIP's encoder whose layers have prompt slots."""

    def __init__(self, config: PromptCLIPTextConfig | PromptCLIPVisionConfig) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.gradient_checkpointing = False
        prompted = range(config.num_hidden_layers) if config.prompt_layers is None else config.prompt_layers
        self.layers = nn.ModuleList(
            PromptCLIPEncoderLayer(config, config.prompt_length if layer in prompted else 0)
            for layer in range(config.num_hidden_layers)
        )

    def forward(
        self,
        inputs_embeds: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        """As CLIP's; `positions` limits the last layer to these tokens.

        With `positions` `(batch,)` the result is `(batch, 1, hidden_size)`.
        """
        if positions is None:
            return super().forward(inputs_embeds, attention_mask, **kwargs)
        states = inputs_embeds
        *layers, last = self.layers
        for layer in layers:
            states = layer(states, attention_mask, **kwargs)
        return BaseModelOutput(last_hidden_state=last(states, attention_mask, positions=positions, **kwargs))


def end_positions(input_ids: torch.Tensor, eos_token_id: int) -> torch.Tensor:
    """Where captions `(batch, tokens)` end, `(batch,)`: at the pooled token.

    That is the first `eos_token_id`; a caption without it, and each under OpenAI's wrong 2, ends at its largest id.
    """
    ids = input_ids.int()  # ONNX has no argmax of int64
    largest = ids.argmax(dim=-1)
    if eos_token_id == 2:
        return largest
    is_end = ids == eos_token_id
    return torch.where(is_end.any(dim=-1), is_end.int().argmax(dim=-1), largest)


def refuse_captured(kwargs: dict[str, Any]) -> None:
    """Raise ValueError if `pooled_only` and outputs of all layers are requested."""
    for name in ("output_hidden_states", "output_attentions"):
        if kwargs.get(name):
            raise ValueError(f"{name}=True asks for every token and pooled_only=True for one; leave one of them out")


class PromptCLIPTextModel(PromptCLIPPreTrainedModel, CLIPTextModel):
    """The text tower, without projection."""

    config: PromptCLIPTextConfig
    config_class = PromptCLIPTextConfig

    def __init__(self, config: PromptCLIPTextConfig) -> None:
        CLIPPreTrainedModel.__init__(self, config)
        self.embeddings = CLIPTextEmbeddings(config)
        self.encoder = PromptCLIPEncoder(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.eos_token_id = 2 if config.end_token_id is None else config.end_token_id
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        pooled_only: bool = False,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """As [`CLIPTextModel`]; `pooled_only` limits the last layer to the pooled token.

        That token is where [`end_positions`] finds it. `last_hidden_state` is then `(batch, 1, hidden_size)`;
        `pooler_output` stays the same, up to rounding.

        Raises ValueError: `pooled_only` with outputs of every layer.
        """
        if not pooled_only:
            output = super().forward(input_ids, attention_mask, position_ids, return_dict=True, **kwargs)
            ends = end_positions(input_ids, self.eos_token_id).to(output.last_hidden_state.device)
            rows = torch.arange(ends.shape[0], device=ends.device)
            output.pooler_output = output.last_hidden_state[rows, ends]
            return output
        refuse_captured(kwargs)
        states = self.embeddings(input_ids=input_ids, position_ids=position_ids)
        mask = create_causal_mask(
            config=self.config, inputs_embeds=states, attention_mask=attention_mask, past_key_values=None
        )
        ends = end_positions(input_ids, self.eos_token_id)
        states = self.encoder(states, mask, positions=ends, is_causal=True).last_hidden_state
        states = self.final_layer_norm(states)
        return BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=states[:, 0])


class PromptCLIPVisionModel(PromptCLIPPreTrainedModel, CLIPVisionModel):
    """The vision tower, without projection."""

    config: PromptCLIPVisionConfig
    config_class = PromptCLIPVisionConfig

    def __init__(self, config: PromptCLIPVisionConfig) -> None:
        CLIPPreTrainedModel.__init__(self, config)
        self.embeddings = PromptCLIPVisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)  # CLIP's own spelling
        self.encoder = PromptCLIPEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        pooled_only: bool = False,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """As [`CLIPVisionModel`]; `pooled_only` limits the last layer to the class token.

        `last_hidden_state` is then `(batch, 1, hidden_size)`; `pooler_output` stays the same, up to rounding.

        Raises ValueError: `pooled_only` with outputs of every layer, or what the embeddings raise.
        """
        if not pooled_only:
            return super().forward(pixel_values, interpolate_pos_encoding, **kwargs)
        refuse_captured(kwargs)
        states = self.pre_layrnorm(self.embeddings(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding))
        # len() would fix the batch in an exported graph
        first = torch.zeros(states.shape[0], dtype=torch.long, device=states.device)
        states = self.encoder(states, positions=first).last_hidden_state
        return BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=self.post_layernorm(states[:, 0]))


class PromptCLIPTextModelWithProjection(PromptCLIPPreTrainedModel, CLIPTextModelWithProjection):
    """The text tower and its projection, whose `text_embeds` are `(batch, projection_dim)`, not normalised."""

    config: PromptCLIPTextConfig
    config_class = PromptCLIPTextConfig

    def __init__(self, config: PromptCLIPTextConfig) -> None:
        CLIPPreTrainedModel.__init__(self, config)
        self.text_model = PromptCLIPTextModel._from_config(config)
        self.text_projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False)
        self.post_init()


class PromptCLIPVisionModelWithProjection(PromptCLIPPreTrainedModel, CLIPVisionModelWithProjection):
    """The vision tower and its projection, whose `image_embeds` are `(batch, projection_dim)`, not normalised."""

    config: PromptCLIPVisionConfig
    config_class = PromptCLIPVisionConfig

    def __init__(self, config: PromptCLIPVisionConfig) -> None:
        CLIPPreTrainedModel.__init__(self, config)
        self.vision_model = PromptCLIPVisionModel._from_config(config)
        self.visual_projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False)
        self.post_init()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the patch embedding."""
        self.vision_model.embeddings.patch_embedding = value


# A tower finds its weights in a whole model's, as CLIP's towers do; without these it would start at random.
for _tower, _prefix in ((PromptCLIPTextModel, "text_model"), (PromptCLIPVisionModel, "vision_model")):
    register_checkpoint_conversion_mapping(_tower.__name__, [PrefixChange(prefix_to_remove=_prefix)], overwrite=True)

__all__ = [
    "PromptCLIPPreTrainedModel",
    "PromptCLIPTextModel",
    "PromptCLIPTextModelWithProjection",
    "PromptCLIPVisionEmbeddings",
    "PromptCLIPVisionModel",
    "PromptCLIPVisionModelWithProjection",
    "at_least_float32",
    "end_positions",
    "resize_position_grid",
]
