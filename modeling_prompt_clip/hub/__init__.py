"""Publishing on the Hub: code, card and upload of models and adapters."""

from modeling_prompt_clip.hub.push_adapter import push_adapter
from modeling_prompt_clip.hub.push_model import push_model, push_part
from modeling_prompt_clip.hub.remote_code import add_remote_code, complete_upload

__all__ = ["add_remote_code", "complete_upload", "push_adapter", "push_model", "push_part"]
