import multiprocessing

import datasets
import pytest
import torch
from PIL import Image

from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor


@pytest.fixture
def tiny_model(tiny_folder):
    return PromptCLIPModel.from_pretrained(tiny_folder)


@pytest.fixture(scope="session")
def tiny_processor(tiny_folder):
    return PromptCLIPProcessor.from_pretrained(tiny_folder)


@pytest.fixture
def workers():
    """How many of the processes live that the test has started."""
    others = multiprocessing.active_children()
    return lambda: len([process for process in multiprocessing.active_children() if process not in others])


@pytest.fixture(scope="session")
def images():
    """Twelve images, all different."""
    torch.manual_seed(0)
    noise = torch.randint(0, 256, (12, 144, 48, 3), dtype=torch.uint8)
    return [Image.fromarray(pixels.numpy()) for pixels in noise]


@pytest.fixture(scope="session")
def people(images):
    """Four people of three images, with one caption or two."""
    captions = [["a man", f"someone in coat {number}"][: 1 + number % 2] for number in range(len(images))]
    return datasets.Dataset.from_dict(
        {
            "image": images,
            "person_id": [10 + number // 3 for number in range(len(images))],
            "captions": captions,
            "camera": [None if number == 0 else f"c{number % 3}" for number in range(len(images))],
        },
        features=datasets.Features(
            {
                "image": datasets.Image(),
                "person_id": datasets.Value("int64"),
                "captions": datasets.List(datasets.Value("string")),
                "camera": datasets.Value("string"),
            }
        ),
    )
