"""A model and its losses as one module: what one step computes from a batch."""

from typing import NamedTuple

import torch
from peft import PeftModel
from torch import nn

from dataset_scripts.common.own_code import names_code
from modeling_prompt_clip.configuration_prompt_clip import PromptCLIPConfig
from modeling_prompt_clip.prompted_towers import end_positions
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.distributed.gather import gather_ids, gather_with_gradient
from trainers.objectives import CombinedObjective, mlm_loss
from trainers.objectives.mlm import IGNORED
from trainers.objectives.own import own_loss


class Encoded(NamedTuple):
    """Outputs of the towers that the losses need, for the pairs of one process."""

    image_embeds: torch.Tensor  # (batch, dim), unit length
    text_embeds: torch.Tensor  # (batch, dim), unit length
    mlm: torch.Tensor | None  # scalar, the share of these pairs in the loss of masked words


class Part(NamedTuple):
    """A part of a batch and the gradients that it backpropagates, see [`GradientCache`]."""

    gradients: tuple[torch.Tensor | None, ...]  # of the whole batch's loss, with respect to each field of `Encoded`
    words: torch.Tensor | None  # `StageModule.masked_words` of the whole batch
    last: bool


class StageModule(nn.Module):
    """A PromptCLIP and its losses in one module, so that DDP sees every trainable parameter in one forward."""

    def __init__(self, model: nn.Module, objective: CombinedObjective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(
        self, batch: dict[str, torch.Tensor], part: Part | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the loss of the global batch and each objective's own value.

        With `part`, return a scalar that has the gradient of the whole batch's loss with respect to the towers.

        Args:
            batch: `pixel_values` (batch, 3, height, width), `input_ids` (batch, tokens), and (batch,) `person_ids`,
                `labels`, `image_ids` of this process; for `mlm` also `masked_input_ids` (batch, masked tokens), and
                (batch, words) `mlm_positions` of the masked words in them and `mlm_labels`, their true ids, rows
                filled up with position 0 and label -100.
            part: its place in the whole batch.

        Raises ValueError: the objective has `mlm` and the batch no masked captions, or what the objectives raise.
        """
        if part is not None:
            return self._surrogate(batch, part), {}
        return self.compare(self.encode(batch, self.masked_words(batch)), batch)

    def masked_words(self, batch: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """Count the masked words of the global batch, as a scalar; `None` without `mlm`.

        Raises ValueError: the objective has `mlm` and the batch no masked captions.
        """
        if self.objective.mlm_head is None:
            return None
        if "masked_input_ids" not in batch:
            raise ValueError("the batch has no masked_input_ids: the objective 'mlm' needs captions with masked words")
        # of all processes: a mean of their means would give a word more weight where fewer are masked
        return gather_ids((batch["mlm_labels"] != IGNORED).sum()[None]).sum()

    def encode(self, batch: dict[str, torch.Tensor], words: torch.Tensor | None) -> Encoded:
        """Encode the pairs of this process, or a part of them; `words` are the `masked_words` of the whole batch."""
        output = self.model(
            input_ids=batch["input_ids"], pixel_values=batch["pixel_values"], pooled_only=words is None
        )
        mlm = None
        if words is not None:
            mlm = self._mlm(batch, output.vision_model_output.last_hidden_state, words)
        return Encoded(output.image_embeds, output.text_embeds, mlm)

    def compare(
        self, encoded: Encoded, batch: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the loss of the global batch and each objective's own value, from all pairs of this process."""
        return self.objective(
            gather_with_gradient(encoded.image_embeds),
            gather_with_gradient(encoded.text_embeds),
            gather_ids(batch["person_ids"]),
            labels=gather_ids(batch["labels"]),
            image_ids=gather_ids(batch["image_ids"]),
            mlm=None if encoded.mlm is None else gather_with_gradient(encoded.mlm[None]).sum(),
        )

    def _surrogate(self, batch: dict[str, torch.Tensor], part: Part) -> torch.Tensor:
        """A scalar whose gradient, through the towers, is `part.gradients` of what the pairs are encoded to."""
        encoded = self.encode(batch, part.words)
        found = zip(encoded, part.gradients, strict=True)
        terms = [(value * gradient).sum() for value, gradient in found if gradient is not None]
        if part.last:
            # DDP waits for a gradient of every parameter, and averages with it what is there already
            terms += [parameter.sum() * 0 for parameter in self.objective.parameters()]
        return torch.stack(terms).sum()

    def _mlm(self, batch: dict[str, torch.Tensor], image_states: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Share of the loss of masked words, from (batch, image tokens, hidden size) last hidden states."""
        clip = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        input_ids = batch["masked_input_ids"]
        text_tokens = clip.text_projection(clip.text_model(input_ids=input_ids).last_hidden_state)
        # CLIP norms and projects the class token alone; every token goes the same way here, as in IRRA
        image_tokens = clip.visual_projection(clip.vision_model.post_layernorm(image_states))
        padding = after_end(input_ids, clip.text_model.eos_token_id)
        logits = self.objective.mlm_head(text_tokens, image_tokens, padding, batch["mlm_positions"])
        return mlm_loss(logits, batch["mlm_labels"], count=words)


def after_end(input_ids: torch.Tensor, eos_token_id: int) -> torch.Tensor:
    """Mask, (batch, tokens), of the tokens after each caption's end token; see [`end_positions`]."""
    return torch.arange(input_ids.shape[1], device=input_ids.device) > end_positions(input_ids, eos_token_id)[:, None]


def new_objective(
    args: TwoStageTrainingArguments, stage: str, config: PromptCLIPConfig, num_identities: int
) -> CombinedObjective:
    """Build the losses of a stage, with new heads."""
    return CombinedObjective(
        args.stage(stage).objectives,
        args.objective_options(),
        embedding_dim=config.projection_dim,
        num_identities=num_identities,
        vocab_size=config.text_config.vocab_size,
        learn_temperature=args.learn_temperature,
    )


def check_own_losses(args: TwoStageTrainingArguments) -> None:
    """Import and try the losses of the user's own before anything is trained.

    Raises ValueError: see [`own_loss`].
    """
    for stage in args.stages:
        for name, weight in args.stage(stage).objectives.items():
            if weight and names_code(name):
                own_loss(f"stage_{stage}_objectives", name)


__all__ = ["Encoded", "Part", "StageModule", "after_end", "check_own_losses", "new_objective"]
