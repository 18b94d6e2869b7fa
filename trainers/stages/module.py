"""A model and its objective as one module: what one step of a stage computes of a batch."""

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
    """All that the objective takes from the towers, of the pairs of one process.

    Attributes:
        image_embeds: (batch, dim), unit length.
        text_embeds: (batch, dim), unit length.
        mlm: scalar, these pairs' share of the loss of masked words; `None` without that objective.
    """

    image_embeds: torch.Tensor
    text_embeds: torch.Tensor
    mlm: torch.Tensor | None


class Part(NamedTuple):
    """What turns some pairs of a batch into their share of the whole batch's gradient, see [`GradientCache`].

    Attributes:
        gradients: of the loss of the whole batch, by each of what these pairs are encoded to; `None` where no
            objective looks.
        words: `StageModule.masked_words` of the whole batch.
        last: whether it is the batch's last part.
    """

    gradients: tuple[torch.Tensor | None, ...]
    words: torch.Tensor | None
    last: bool


class StageModule(nn.Module):
    """A model and its objective as one module, so that DDP sees every trainable parameter in one forward.

    Args:
        model: a PromptCLIPModel, or a PeftModel around one.
        objective: the stage's losses.
    """

    def __init__(self, model: nn.Module, objective: CombinedObjective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(
        self, batch: dict[str, torch.Tensor], part: Part | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of the global batch, and each objective's own value.

        With `part`, the batch is a part of one whose loss is known, and the scalar returned (with no values) is not
        that loss but has, through the towers, its gradient. That of the objective's own parameters is not in it.

        Args:
            batch: `pixel_values` (batch, 3, height, width), `input_ids` (batch, tokens), and (batch,) `person_ids`,
                `labels`, `image_ids` of this process; for `mlm` also `masked_input_ids` (batch, masked tokens), and
                (batch, words) `mlm_positions` of the masked words in them and `mlm_labels`, their true ids, rows
                filled up with position 0 and label -100.
            part: of which batch, and how, it is a part.

        Raises:
            ValueError: the objective has `mlm` and the batch no masked captions, or what the objectives raise.
        """
        if part is not None:
            return self._surrogate(batch, part), {}
        return self.compare(self.encode(batch, self.masked_words(batch)), batch)

    def masked_words(self, batch: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """Masked words of the global batch, a scalar, which their loss is a mean over; `None` without `mlm`.

        Raises:
            ValueError: the objective has `mlm` and the batch no masked captions.
        """
        if self.objective.mlm_head is None:
            return None
        if "masked_input_ids" not in batch:
            raise ValueError("the batch has no masked_input_ids: the objective 'mlm' needs captions with masked words")
        # of all processes: a mean of their means would give a word more weight where fewer are masked
        return gather_ids((batch["mlm_labels"] != IGNORED).sum()[None]).sum()

    def encode(self, batch: dict[str, torch.Tensor], words: torch.Tensor | None) -> Encoded:
        """What the towers make of the pairs of this process, or of a part of them.

        Args:
            batch: as for `forward`.
            words: `masked_words` of the whole batch.
        """
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
        """The loss of the global batch, and each objective's own value.

        Args:
            encoded: all pairs of this process.
            batch: `person_ids`, `labels`, `image_ids` of these pairs.
        """
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
        """Share of the loss of masked words; the masked captions take a pass of their own.

        Args:
            batch: as for `forward`.
            image_states: (batch, image tokens, hidden size), the vision tower's last hidden state.
            words: that the mean is over.
        """
        clip = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        input_ids = batch["masked_input_ids"]
        text_tokens = clip.text_projection(clip.text_model(input_ids=input_ids).last_hidden_state)
        # CLIP norms and projects the class token alone; every token goes the same way here, as in IRRA
        image_tokens = clip.visual_projection(clip.vision_model.post_layernorm(image_states))
        padding = after_end(input_ids, clip.text_model.eos_token_id)
        logits = self.objective.mlm_head(text_tokens, image_tokens, padding, batch["mlm_positions"])
        return mlm_loss(logits, batch["mlm_labels"], count=words)


def after_end(input_ids: torch.Tensor, eos_token_id: int) -> torch.Tensor:
    """Which tokens of (batch, tokens) stand after their caption's end token, as (batch, tokens) booleans.

    The end is where the text tower finds it, see [`end_positions`].
    """
    return torch.arange(input_ids.shape[1], device=input_ids.device) > end_positions(input_ids, eos_token_id)[:, None]


def new_objective(
    args: TwoStageTrainingArguments, stage: str, config: PromptCLIPConfig, num_identities: int
) -> CombinedObjective:
    """The losses of a stage with fresh heads, for a model of this configuration and that many training persons."""
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

    Raises:
        ValueError: see [`own_loss`].
    """
    for stage in args.stages:
        for name, weight in args.stage(stage).objectives.items():
            if weight and names_code(name):
                own_loss(f"stage_{stage}_objectives", name)


__all__ = ["Encoded", "Part", "StageModule", "after_end", "check_own_losses", "new_objective"]
