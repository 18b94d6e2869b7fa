"""Registration of `CLIP_PROMPT` with PEFT."""

import importlib
from functools import wraps
from typing import Any

from peft import PeftModel
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import PeftType, register_peft_method

from modeling_prompt_clip.prompt_tuning.config import CLIP_PROMPT, DeepPromptConfig
from modeling_prompt_clip.prompt_tuning.model import DeepPromptModel

__all__ = ["keep_adapters_private", "register_clip_prompt_method"]


def register_clip_prompt_method() -> None:
    """Register `CLIP_PROMPT` with PEFT, once a process.

    `register_peft_method` requires the name in PEFT's closed enum, so the member is added by hand; a test guards this,
    and PEFT's minor version is pinned.
    """
    if CLIP_PROMPT not in PeftType.__members__:
        member = str.__new__(PeftType, CLIP_PROMPT)
        member._name_ = member._value_ = CLIP_PROMPT
        type.__setattr__(PeftType, CLIP_PROMPT, member)
        PeftType._member_map_[CLIP_PROMPT] = PeftType._value2member_map_[CLIP_PROMPT] = member
        PeftType._member_names_.append(CLIP_PROMPT)
    if PeftType(CLIP_PROMPT) not in PEFT_TYPE_TO_CONFIG_MAPPING:
        register_peft_method(
            name=CLIP_PROMPT.lower(), config_cls=DeepPromptConfig, model_cls=DeepPromptModel, prefix="clip_prompt_"
        )


def keep_adapters_private() -> None:
    """Make `push_to_hub` of PEFT models with our prompts private, once a process.

    PEFT creates the repository, public by default, before it calls anything of ours, so the class's method is wrapped.
    Models with only other adapters are unaffected.
    """
    theirs = PeftModel.push_to_hub
    if getattr(theirs, "keeps_clip_prompts_private", False):
        return

    @wraps(theirs)
    def push_to_hub(self: PeftModel, repo_id: str, **options: Any) -> str:
        if not any(isinstance(config, DeepPromptConfig) for config in self.peft_config.values()):
            return theirs(self, repo_id, **options)
        return importlib.import_module("modeling_prompt_clip.hub").push_adapter(self, repo_id, **options)

    push_to_hub.keeps_clip_prompts_private = True
    PeftModel.push_to_hub = push_to_hub
