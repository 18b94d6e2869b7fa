"""What is pushed."""

import copy
from pathlib import Path

import pytest

from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.loading import load_model


@pytest.fixture(scope="session")
def loaded(tiny_adapter_folder: Path) -> tuple[PromptCLIPModel, PromptCLIPProcessor]:
    return load_model(tiny_adapter_folder)


@pytest.fixture
def parts(loaded: tuple[PromptCLIPModel, PromptCLIPProcessor]) -> tuple[PromptCLIPModel, PromptCLIPProcessor]:
    """A model with merged prompts, and its processor."""
    return copy.deepcopy(loaded)
