"""Registration of `CLIP_PROMPT` with PEFT."""

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import PeftType, register_peft_method

from modeling_prompt_clip.prompt_tuning.config import CLIP_PROMPT, DeepPromptConfig
from modeling_prompt_clip.prompt_tuning.model import DeepPromptModel

__all__ = ["register_clip_prompt_method"]


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
