"""Checkpoints of other code as models of ours: OpenAI's CLIP, and the person re-identification models built on it."""

from modeling_prompt_clip.conversion.checkpoint_file import read_tensors
from modeling_prompt_clip.conversion.convert import ConvertedCheckpoint, convert_checkpoint
from modeling_prompt_clip.conversion.openai_layout import OpenAILayout, find_layout

__all__ = ["ConvertedCheckpoint", "OpenAILayout", "convert_checkpoint", "find_layout", "read_tensors"]
