"""Whatever is in a recipe, a run's folder or a checkpoint, each verb ends soon, small, and in one line."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from accelerate.state import AcceleratorState

from forked import run_forked, wrong_ending
from resuming import SETTINGS, TINY, DieAfter, Killed
from trainers import TwoStageTrainer, TwoStageTrainingArguments

from .generators import Damage, checkpoints, recipes, run_files

pytestmark = pytest.mark.slow

PERSONS = {"train_identities": 6, "validation_identities": 2, "test_identities": 2}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_clip_folder: Path) -> Iterator[Path]:
    """A recipe, its finished run, and one that was killed in stage two."""
    folder = tmp_path_factory.mktemp("damaged")
    settings = {**TINY, **SETTINGS, "base_model": str(tiny_clip_folder), "dataset_options": PERSONS}
    settings |= {"data_dir": str(folder / "data"), "stage_one_max_steps": 1, "stage_two_max_steps": 5}
    settings |= {"stage_two_objectives": "sdm=1"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    for name, callbacks in (("finished", []), ("killed", [DieAfter(4, "two")])):
        args = TwoStageTrainingArguments(**settings, output_dir=str(folder / name))
        try:
            TwoStageTrainer(args, callbacks=callbacks).train()
        except Killed:
            pass
        finally:
            AcceleratorState._reset_state(reset_partial_state=True)
    yield folder


@pytest.mark.parametrize("damage", recipes(), ids=lambda damage: damage.name)
def test_recipes(runs: Path, tmp_path: Path, damage: Damage):
    recipe = tmp_path / "recipe.yaml"
    shutil.copy(runs / "recipe.yaml", recipe)
    damage.do(recipe)
    outcome = run_forked(["train", "--config", str(recipe), "--stage_two_max_steps", "1"], tmp_path)
    assert not wrong_ending(outcome, *damage.says)


@pytest.mark.parametrize(("verb", "damage"), [pytest.param(*each, id=each[1].name) for each in run_files()])
def test_run_files(runs: Path, tmp_path: Path, verb: str, damage: Damage):
    run = tmp_path / "run"
    shutil.copytree(runs / "finished", run)
    damage.do(run)
    commands = {
        "evaluate": ["evaluate", str(run)],
        "push": ["push", str(run), "--repo", "nobody/nothing"],
        "train": ["train", "--config", str(runs / "recipe.yaml"), "--output_dir", str(run)],
    }
    offline = ("offline", "HF_HUB_OFFLINE", "token")  # a whole run fails only there
    says = (*damage.says, *offline) if verb == "push" else damage.says
    assert not wrong_ending(run_forked(commands[verb], tmp_path), *says)


@pytest.mark.parametrize("damage", checkpoints(), ids=lambda damage: damage.name)
def test_checkpoints(runs: Path, tmp_path: Path, damage: Damage):
    run = tmp_path / "run"
    shutil.copytree(runs / "killed", run)
    damage.do(run)
    command = ["train", "--config", str(runs / "recipe.yaml"), "--output_dir", str(run)]
    assert not wrong_ending(run_forked(command, tmp_path), *damage.says)
    assert not (tmp_path / "unpickled").exists()


def test_as_many_inputs_as_promised():
    assert len([*recipes(), *run_files(), *checkpoints()]) >= 170
