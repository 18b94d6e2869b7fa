"""Route every `push_to_hub` around our models through `hub`, imported on use."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from peft import PeftModel
from transformers.utils import PushToHubMixin

from modeling_prompt_clip.modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.private_uploads import PrivateUploads
from modeling_prompt_clip.prompt_tuning import DeepPromptConfig

__all__ = ["route_uploads"]


def route_uploads() -> None:
    """Make uploads of models, processors, adapters and pipelines private by default.

    PEFT and transformers create a repository, public by default, before they call anything of ours, so their methods
    are wrapped. Objects that hold nothing of ours are unaffected.
    """
    PrivateUploads.package_upload = _upload
    PeftModel.push_to_hub = _with_our_adapters(PeftModel.push_to_hub)  # type: ignore[method-assign]
    PushToHubMixin.push_to_hub = _with_our_pipelines(PushToHubMixin.push_to_hub)  # type: ignore[method-assign]


def _upload(saved: PrivateUploads, repo_id: str, **options: Any) -> str:
    from modeling_prompt_clip.hub import push_model, push_part

    if isinstance(saved, PromptCLIPModel):
        return push_model(saved, repo_id, **options)
    return push_part(saved, repo_id, **options)


def _with_our_adapters(theirs: Callable[..., str]) -> Callable[..., str]:
    @wraps(theirs)
    def push_to_hub(self: PeftModel, repo_id: str, **options: Any) -> str:
        if not any(isinstance(config, DeepPromptConfig) for config in self.peft_config.values()):
            return theirs(self, repo_id, **options)
        from modeling_prompt_clip.hub import push_adapter

        return push_adapter(self, repo_id, **options)

    return push_to_hub


def _with_our_pipelines(theirs: Callable[..., str]) -> Callable[..., str]:
    @wraps(theirs)
    def push_to_hub(self: PushToHubMixin, repo_id: str, **options: Any) -> str:
        if isinstance(getattr(self, "model", None), PrivateUploads):
            from dataset_scripts.common.hub import open_repository

            private = options.get("private") is not False
            repo_id = open_repository(repo_id, "model", private=private, token=options.get("token")).repo_id
        return theirs(self, repo_id, **options)

    return push_to_hub
