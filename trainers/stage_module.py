"""A model and its objective as one module: what one step of a stage computes of a batch."""

import torch
from peft import PeftModel
from torch import nn

from trainers.distributed import gather_ids, gather_with_gradient
from trainers.objectives import CombinedObjective, mlm_loss
from trainers.objectives.mlm import IGNORED


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

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of the global batch, and each objective's own value.

        Args:
            batch: `pixel_values` (batch, 3, height, width), `input_ids` (batch, tokens), and (batch,) `person_ids`,
                `labels`, `image_ids` of this process; for `mlm` also `masked_input_ids` (batch, masked tokens), and
                (batch, words) `mlm_positions` of the masked words in them and `mlm_labels`, their true ids, rows
                filled up with position 0 and label -100.

        Raises:
            ValueError: the objective has `mlm` and the batch no masked captions, or what the objectives raise.
        """
        output = self.model(input_ids=batch["input_ids"], pixel_values=batch["pixel_values"])
        mlm = None
        if self.objective.mlm_head is not None:
            mlm = self._mlm(batch, output.vision_model_output.last_hidden_state)
        return self.objective(
            gather_with_gradient(output.image_embeds),
            gather_with_gradient(output.text_embeds),
            gather_ids(batch["person_ids"]),
            labels=gather_ids(batch["labels"]),
            image_ids=gather_ids(batch["image_ids"]),
            mlm=mlm,
        )

    def _mlm(self, batch: dict[str, torch.Tensor], image_states: torch.Tensor) -> torch.Tensor:
        """Loss of the masked words of the global batch; the masked captions take a pass of their own.

        Args:
            batch: as for `forward`.
            image_states: (batch, image tokens, hidden size), the vision tower's last hidden state.
        """
        if "masked_input_ids" not in batch:
            raise ValueError("the batch has no masked_input_ids: the objective 'mlm' needs captions with masked words")
        clip = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        input_ids, labels = batch["masked_input_ids"], batch["mlm_labels"]
        text_tokens = clip.text_projection(clip.text_model(input_ids=input_ids).last_hidden_state)
        # CLIP norms and projects the class token alone; every token goes the same way here, as in IRRA
        image_tokens = clip.visual_projection(clip.vision_model.post_layernorm(image_states))
        padding = after_end(input_ids, clip.text_model.eos_token_id)
        logits = self.objective.mlm_head(text_tokens, image_tokens, padding, batch["mlm_positions"])
        # of all processes: a mean of their means would give a word more weight where fewer are masked
        count = gather_ids((labels != IGNORED).sum()[None]).sum()
        return gather_with_gradient(mlm_loss(logits, labels, count=count)[None]).sum()


def after_end(input_ids: torch.Tensor, eos_token_id: int) -> torch.Tensor:
    """Which tokens of (batch, tokens) stand after their caption's end token, as (batch, tokens) booleans.

    As the text tower finds it: the first `eos_token_id`, or under OpenAI's wrong 2 the largest id.
    """
    is_end = input_ids if eos_token_id == 2 else (input_ids == eos_token_id).int()
    return torch.arange(input_ids.shape[1], device=input_ids.device) > is_end.argmax(dim=-1, keepdim=True)


__all__ = ["StageModule", "after_end"]
