"""Imported once, before processes are forked."""

import datasets  # noqa: F401
import peft  # noqa: F401
import torch  # noqa: F401

import modeling_prompt_clip.cli  # noqa: F401
import trainers.two_stage  # noqa: F401
