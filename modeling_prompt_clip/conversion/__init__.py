"""Conversion of checkpoints: OpenAI's CLIP, open_clip, person re-identification models."""

from modeling_prompt_clip.conversion.checkpoint_file import CheckpointFile, read_checkpoint, read_tensors
from modeling_prompt_clip.conversion.choices import Choice
from modeling_prompt_clip.conversion.convert import ConvertedCheckpoint, convert_checkpoint
from modeling_prompt_clip.conversion.layout import OpenAILayout, find_layout

__all__ = [
    "CheckpointFile",
    "Choice",
    "ConvertedCheckpoint",
    "OpenAILayout",
    "convert_checkpoint",
    "find_layout",
    "read_checkpoint",
    "read_tensors",
]
