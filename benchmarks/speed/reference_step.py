"""The field's training step: the reference for ours in `train_step.py`.

One clean implementation of habits seen in public code of text-to-image person re-identification, none of ours:

- prompts are concatenated to the sequence and replaced in every layer (VPT-deep, arXiv 2203.12119, on images; IVLP in
  MaPLe, arXiv 2210.03117, on text, where they take places of the 77-token context);
- captions are padded to 77 tokens (IRRA, arXiv 2303.12501, and its descendants);
- attention is written out: the matrix of all scores, its softmax, the product with the values;
- stage one leaves `requires_grad` on for the frozen weights (as CLIP-ReID, arXiv 2211.13977): their gradients are
  computed in every step, pile up and are never used; `frozen=True` mends that one fault;
- the optimizer gets one parameter group for each tensor (IRRA's solver) and torch's default kernels;
- the loss is read in every step.

Modules bear the names of transformers' CLIP, so that a test can load one model's weights into the other.
"""

import math

import torch
from torch import nn

CONTEXT = 77


class Attention(nn.Module):
    """Multi-head attention with the whole matrix of scores in memory."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """`(batch, tokens, width)` and an additive mask `(tokens, tokens)` -> `(batch, tokens, width)`."""
        batch, tokens, width = states.shape
        projections = (self.q_proj, self.k_proj, self.v_proj)
        queries, keys, values = (
            project(states).view(batch, tokens, self.heads, -1).transpose(1, 2) for project in projections
        )
        scores = queries @ keys.transpose(2, 3) / math.sqrt(width // self.heads)
        if mask is not None:
            scores = scores + mask
        output = scores.softmax(dim=-1) @ values
        return self.out_proj(output.transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    """CLIP's two-layer perceptron with the fast GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """`(batch, tokens, width)` -> the same shape."""
        states = self.fc1(states)
        return self.fc2(states * torch.sigmoid(1.702 * states))


class Layer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attn, self.mlp = Attention(width, heads), Mlp(width)

    def forward(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """`(batch, tokens, width)` -> the same shape."""
        states = states + self.self_attn(self.layer_norm1(states), mask)
        return states + self.mlp(self.layer_norm2(states))


class Encoder(nn.Module):
    """Layers, in front of each of which prompts replace those of the layer before."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(depth))

    def forward(
        self, states: torch.Tensor, mask: torch.Tensor | None, prompts: nn.ParameterList, start: int
    ) -> torch.Tensor:
        """`(batch, tokens, width)`, whose tokens from `start` on are the prompts -> the same shape."""
        for number, layer in enumerate(self.layers):
            if len(prompts):
                prompt = prompts[number].expand(len(states), -1, -1).to(states.dtype)
                states = torch.cat([states[:, :start], prompt, states[:, start + prompt.shape[1] :]], dim=1)
            states = layer(states, mask)
        return states


class VisionTower(nn.Module):
    """CLIP's vision transformer; prompts stand behind the patches."""

    def __init__(self, width: int, heads: int, depth: int, image_size: tuple[int, int], patch_size: int) -> None:
        super().__init__()
        places = 1 + (image_size[0] // patch_size) * (image_size[1] // patch_size)
        self.embeddings = nn.Module()
        self.embeddings.class_embedding = nn.Parameter(torch.randn(width))
        self.embeddings.patch_embedding = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.embeddings.position_embedding = nn.Embedding(places, width)
        self.pre_layrnorm, self.post_layernorm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.encoder = Encoder(width, heads, depth)

    def forward(self, images: torch.Tensor, prompts: nn.ParameterList) -> torch.Tensor:
        """`(batch, 3, height, width)` -> `(batch, hidden_size)`, the class token."""
        parts = self.embeddings
        patches = parts.patch_embedding(images).flatten(2).transpose(1, 2)
        states = torch.cat([parts.class_embedding.to(patches.dtype).expand(len(images), 1, -1), patches], dim=1)
        states = self.pre_layrnorm(states + parts.position_embedding.weight)
        start = states.shape[1]
        if len(prompts):
            states = torch.cat([states, prompts[0].expand(len(images), -1, -1).to(states.dtype)], dim=1)
        return self.post_layernorm(self.encoder(states, None, prompts, start)[:, 0])


class TextTower(nn.Module):
    """CLIP's causal text transformer; prompts stand behind the start token, inside the context of 77."""

    def __init__(self, width: int, heads: int, depth: int, vocabulary: int) -> None:
        super().__init__()
        self.embeddings = nn.Module()
        self.embeddings.token_embedding = nn.Embedding(vocabulary, width)
        self.embeddings.position_embedding = nn.Embedding(CONTEXT, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.encoder = Encoder(width, heads, depth)

    def forward(self, input_ids: torch.Tensor, prompts: nn.ParameterList) -> torch.Tensor:
        """`(batch, 77 - prompts)` -> `(batch, hidden_size)`, the end token: the one with the highest id."""
        states = self.embeddings.token_embedding(input_ids)
        ends = input_ids.argmax(dim=-1)
        if len(prompts):
            prompt = prompts[0].expand(len(states), -1, -1)
            states = torch.cat([states[:, :1], prompt, states[:, 1:]], dim=1)
            ends = ends + prompt.shape[1]
        tokens = states.shape[1]
        mask = torch.full((tokens, tokens), -math.inf, device=states.device).triu(1)
        states = states + self.embeddings.position_embedding.weight[:tokens]
        states = self.final_layer_norm(self.encoder(states, mask, prompts, 1))
        return states[torch.arange(len(states)), ends]


class ReferenceClip(nn.Module):
    """CLIP with concatenated prompts.

    Args:
        config: a `PromptCLIPConfig`, for the dimensions alone.
        prompts: prompts in each layer of each tower; 0 is plain CLIP.
    """

    def __init__(self, config: object, prompts: int) -> None:
        super().__init__()
        vision, text = config.vision_config, config.text_config
        self.vision_model = VisionTower(
            vision.hidden_size,
            vision.num_attention_heads,
            vision.num_hidden_layers,
            tuple(vision.image_size),
            vision.patch_size,
        )
        self.text_model = TextTower(
            text.hidden_size, text.num_attention_heads, text.num_hidden_layers, text.vocab_size
        )
        self.visual_projection = nn.Linear(vision.hidden_size, config.projection_dim, bias=False)
        self.text_projection = nn.Linear(text.hidden_size, config.projection_dim, bias=False)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)
        self.vision_prompts, self.text_prompts = (
            nn.ParameterList(0.02 * torch.randn(prompts, tower.hidden_size) for _ in range(depth))
            for tower, depth in ((t, t.num_hidden_layers if prompts else 0) for t in (vision, text))
        )

    def forward(self, images: torch.Tensor, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit embeddings in float32 of images and captions, each `(batch, projection_dim)`."""
        image = self.visual_projection(self.vision_model(images, self.vision_prompts))
        text = self.text_projection(self.text_model(input_ids, self.text_prompts))
        return nn.functional.normalize(image.float(), dim=-1), nn.functional.normalize(text.float(), dim=-1)


class ReferenceStep:
    """A training step of the reference.

    Args:
        model: the reference model.
        objective: called with image and text embeddings, person ids, `labels` and `image_ids`; returns loss and terms.
        stage: "one" trains prompts, "two" all but the prompts, "direct" a model without prompts.
        frozen: switch the gradients of stage one's frozen weights off.
        bf16: run the forward pass under bf16 autocast.
    """

    def __init__(self, model: ReferenceClip, objective: nn.Module, stage: str, frozen: bool, bf16: bool) -> None:
        self.model, self.objective, self.bf16 = model, objective, bf16
        prompts = [*model.vision_prompts, *model.text_prompts]
        weights = [parameter for name, parameter in model.named_parameters() if "_prompts." not in name]
        if stage == "one" and frozen:
            model.requires_grad_(False)
        for prompt in prompts:
            prompt.requires_grad_(stage == "one")
        trained = (prompts if stage == "one" else weights) + list(objective.parameters())
        # lr as of the field's fine-tuning; its value changes nothing in the cost
        self.optimizer = torch.optim.AdamW([{"params": [tensor], "lr": 1e-5} for tensor in trained])

    def __call__(self, batch: dict[str, torch.Tensor]) -> float:
        """One step; the batch's `input_ids` are padded to the context less the prompts. Returns the loss."""
        self.optimizer.zero_grad()
        device = batch["pixel_values"].device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.bf16):
            image, text = self.model(batch["pixel_values"], batch["input_ids"])
        loss, _ = self.objective(
            image, text, batch["person_ids"], labels=batch["labels"], image_ids=batch["image_ids"]
        )
        loss.backward()
        self.optimizer.step()
        return loss.item()


__all__ = ["CONTEXT", "ReferenceClip", "ReferenceStep"]
