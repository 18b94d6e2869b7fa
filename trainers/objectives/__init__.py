"""Objectives: pure functions of unit embeddings and ids, one loss a file, and their weighted sum by name.

Every loss takes the embeddings of the *whole* batch over all ranks; gathering them is the trainer's work.
"""

from trainers.objectives.combined import OBJECTIVES, CombinedObjective
from trainers.objectives.identity import IdentityHead, id_loss
from trainers.objectives.itc import itc_loss
from trainers.objectives.sdm import sdm_loss
from trainers.objectives.tal import tal_loss

__all__ = [
    "OBJECTIVES",
    "CombinedObjective",
    "IdentityHead",
    "id_loss",
    "itc_loss",
    "sdm_loss",
    "tal_loss",
]
