"""What a folder needs to be loaded by people who have never heard of this package, and how it gets to the Hub."""

from modeling_prompt_clip.hub.push_adapter import push_adapter
from modeling_prompt_clip.hub.push_model import push_model
from modeling_prompt_clip.hub.remote_code import add_remote_code, complete_upload

__all__ = ["add_remote_code", "complete_upload", "push_adapter", "push_model"]
