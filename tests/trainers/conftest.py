"""A person-search set of a few noisy pictures, and settings for runs of seconds."""

from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path

import datasets
import numpy as np
import pytest
from accelerate.state import AcceleratorState
from matplotlib.figure import Figure
from PIL import Image

from trainers.arguments.settings import TwoStageTrainingArguments

WORDS = ("red", "blue", "green", "grey", "black", "white", "pink", "brown")


def draw_split(first_person: int, persons: int) -> datasets.Dataset:
    """Two images a person, two captions an image; person ids with gaps, in no order."""
    rows = []
    for person in reversed(range(first_person, first_person + persons)):
        for view in range(2):
            pixels = np.random.default_rng(person * 2 + view).integers(256, size=(48, 20, 3), dtype=np.uint8)
            rows.append(
                {
                    "image": Image.fromarray(pixels),
                    "image_id": f"{person}_{view}.png",
                    "person_id": person * 3,
                    "captions": [f"a man in {WORDS[person % 8]}", f"{WORDS[person % 8]} coat, view {view}"],
                    "camera": None,
                }
            )
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """Accelerate keeps one state a process; each test may choose its own precision."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True)
def blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are composed and saved, but not rendered: that takes a third of a tiny run.

    Runs of session fixtures render theirs; tests that look at pictures override this fixture.
    """

    def save(figure: Figure, path: Path, **options: object) -> None:
        Image.new("L", (1, 1)).save(path)

    monkeypatch.setattr(Figure, "savefig", save)


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are saved uncompressed: Pillow's default takes a seventh of a tiny run."""
    monkeypatch.setattr(Image.Image, "save", partialmethod(Image.Image.save, compress_level=0))


@pytest.fixture(scope="session")
def splits() -> dict[str, datasets.Dataset]:
    """Train, validation and test, with disjoint persons."""
    return {"train": draw_split(0, 6), "validation": draw_split(10, 3), "test": draw_split(20, 3)}


@pytest.fixture(scope="session")
def tiny_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_clip_folder: Path, splits: dict[str, datasets.Dataset]
) -> Path:
    """Folder of a finished run of both stages; tests must not change it."""
    from trainers.two_stage import TwoStageTrainer

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    args = TwoStageTrainingArguments(
        base_model=str(tiny_clip_folder),
        image_size=[96, 32],
        output_dir=str(folder),
        batch_size=4,
        stage_one_max_steps=3,
        stage_two_max_steps=3,
        stage_two_learning_rate=1e-3,
        eval_steps=2,
        log_steps=1,
        num_workers=0,
        report_to="none",
    )
    TwoStageTrainer(args, splits=splits).train()
    return folder


@pytest.fixture
def make_args(tiny_clip_folder: Path, tmp_path: Path) -> Callable[..., TwoStageTrainingArguments]:
    """Settings of a run of a few steps on the tiny CLIP; keywords override them."""

    def make(**settings: object) -> TwoStageTrainingArguments:
        defaults = {
            "base_model": str(tiny_clip_folder),
            "image_size": [96, 32],
            "output_dir": str(tmp_path / "run"),
            "batch_size": 4,
            "stage_one_max_steps": 3,
            "stage_two_max_steps": 3,
            "stage_two_learning_rate": 1e-3,
            "eval_steps": 2,
            "log_steps": 1,
            "num_workers": 0,
            "report_to": "none",
        }
        return TwoStageTrainingArguments(**(defaults | settings))

    return make
