"""Objectives: pure functions of unit embeddings and ids, and their weighted sum.

Every loss takes the embeddings of the *whole* batch over all ranks; the trainer gathers them. Masked-language
modelling is different: its head sees tokens, and its loss is summed over ranks.
"""

from trainers.objectives.citc import citc_loss
from trainers.objectives.combined import OBJECTIVES, CombinedObjective
from trainers.objectives.identity import IdentityHead, id_loss
from trainers.objectives.itc import itc_loss
from trainers.objectives.mlm import MaskedWordHead, mlm_loss
from trainers.objectives.sdm import sdm_loss
from trainers.objectives.tal import tal_loss
from trainers.transforms.masking import CaptionMasking, MaskedCaption, mask_tokens

__all__ = [
    "OBJECTIVES",
    "CaptionMasking",
    "CombinedObjective",
    "IdentityHead",
    "MaskedCaption",
    "MaskedWordHead",
    "citc_loss",
    "id_loss",
    "itc_loss",
    "mask_tokens",
    "mlm_loss",
    "sdm_loss",
    "tal_loss",
]
