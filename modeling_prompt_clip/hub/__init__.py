"""What a folder needs to be loaded by people who have never heard of this package."""

from modeling_prompt_clip.hub.remote_code import REMOTE_FILES, add_remote_code

__all__ = ["REMOTE_FILES", "add_remote_code"]
