"""`push_to_hub` of a transformers pipeline around our model: private, as the model's own is."""

from functools import wraps
from typing import Any

from huggingface_hub import HfApi
from transformers.utils import PushToHubMixin

from modeling_prompt_clip.private_uploads import PrivateUploads, open_private_repository

__all__ = ["keep_pipelines_private"]


def keep_pipelines_private() -> None:
    """Let `push_to_hub` of what holds a model of ours make private repositories, once a process.

    A pipeline has transformers' method, which makes a public repository before it asks the model anything: it is
    wrapped. What holds no model of ours goes transformers' own way.
    """
    theirs = PushToHubMixin.push_to_hub
    if getattr(theirs, "keeps_prompt_clip_private", False):
        return

    @wraps(theirs)
    def push_to_hub(self: PushToHubMixin, repo_id: str, **options: Any) -> str:
        if isinstance(getattr(self, "model", None), PrivateUploads):
            repo_id = open_private_repository(HfApi(token=options.get("token")), repo_id, options.get("private"))
        return theirs(self, repo_id, **options)

    push_to_hub.keeps_prompt_clip_private = True
    PushToHubMixin.push_to_hub = push_to_hub
