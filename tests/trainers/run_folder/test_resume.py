"""A run that is killed, at whatever instant, and goes on, ends with the weights of one that was left in peace."""

import contextlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file

from modeling_prompt_clip.cli import main as prompt_clip
from trainers import TwoStageTrainer, TwoStageTrainingArguments
from trainers.commands import train as train_command
from trainers.distributed.preemption import Preempted
from trainers.run_folder.hashes import file_hashes
from trainers.run_folder.metrics_log import read_metrics
from trainers.stages.best_weights import RunWeights
from trainers.stages.loop import StageLoop

TINY = {
    "image_size": [96, 32],
    "batch_size": 4,
    "stage_two_learning_rate": 1e-3,
    "num_workers": 0,
    "report_to": "none",
}
SETTINGS = {
    "stage_one_max_steps": 7,
    "stage_two_max_steps": 7,
    "eval_steps": 3,
    "save_steps": 2,
    "log_steps": 2,
    "stage_one_objectives": "sdm=1,id=0.5",
    "stage_two_objectives": "sdm=1,id=0.5",
    "resume": "auto",
}


@pytest.fixture
def train(make_args, splits) -> Callable[..., TwoStageTrainer]:
    """Runs to the end, or raises; returns the trainer."""

    def run(folder: Path, **settings: object) -> TwoStageTrainer:
        trainer = TwoStageTrainer(make_args(output_dir=str(folder), **(SETTINGS | settings)), splits=splits)
        try:
            trainer.train()
        finally:
            AcceleratorState._reset_state(reset_partial_state=True)
        return trainer

    return run


def ending(folder: Path) -> dict[str, object]:
    """Everything that must not depend on whether a run was interrupted."""
    weights = {
        **load_file(folder / "adapter" / "adapter_model.safetensors"),
        **load_file(folder / "model" / "model.safetensors"),
    }
    results = json.loads((folder / "results.json").read_text())
    return {"weights": weights, "results": results, "metrics": read_metrics(folder / "metrics.jsonl")}


def assert_same(one: dict[str, object], other: dict[str, object]) -> None:
    assert one["weights"].keys() == other["weights"].keys()
    assert all(torch.equal(value, other["weights"][name]) for name, value in one["weights"].items())
    assert one["results"] == other["results"]
    assert one["metrics"] == other["metrics"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, tiny_clip_folder, splits) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    args = TwoStageTrainingArguments(base_model=str(tiny_clip_folder), output_dir=str(folder), **(TINY | SETTINGS))
    TwoStageTrainer(args, splits=splits).train()
    AcceleratorState._reset_state(reset_partial_state=True)
    return ending(folder)


def killed_after(seconds: float, work: Callable[[], object]) -> int:
    """Runs `work` in a process of its own and kills it; returns its exit status, 0 where it was done before."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    return process.exitcode


def kill_and_go_on(train: Callable[..., TwoStageTrainer], folder: Path, instants: list[float]) -> list[int]:
    """Kills the run in `folder` after each of the instants, then lets it finish."""
    statuses = [killed_after(instant, lambda: train(folder)) for instant in instants]
    train(folder)
    return statuses


def test_killed_twice(train, undisturbed, tmp_path):
    started = time.monotonic()
    assert killed_after(600, lambda: train(tmp_path / "timed")) == 0
    duration = time.monotonic() - started
    statuses = kill_and_go_on(train, tmp_path / "run", [0.6 * duration, 0.4 * duration])
    assert -signal.SIGKILL in statuses
    assert_same(ending(tmp_path / "run"), undisturbed)
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.slow
def test_killed_at_twenty_instants(train, undisturbed, tmp_path):
    started = time.monotonic()
    assert killed_after(600, lambda: train(tmp_path / "timed")) == 0
    duration = time.monotonic() - started
    draw = random.Random(0)
    killed = 0
    for number in range(20):
        folder = tmp_path / f"run{number}"
        killed += -signal.SIGKILL in kill_and_go_on(train, folder, [draw.uniform(0.1, 1) * duration])
        assert_same(ending(folder), undisturbed)
    assert killed >= 15


class Killed(BaseException):
    """Stands for the end of the process at an exact place."""


@pytest.mark.parametrize(
    "place",
    [
        "trainers.data.splits.RunSplits.draw_training_set",
        "trainers.run_folder.folder.RunFolder.finish_stage",
        "trainers.stages.best_weights.RunWeights._place",
        "trainers.two_stage.merged_adapter",
        "trainers.two_stage.ranked_strips",
        "trainers.run_folder.checkpoint_store.CheckpointStore._prune",
        "trainers.run_folder.checkpoint_store.write_json",
    ],
)
@pytest.mark.parametrize("call", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_killed_at_the_seams(train, undisturbed, tmp_path, monkeypatch, place, call):
    calls = []

    def die(*args, **kwargs):
        calls.append(None)
        if len(calls) == call:
            raise Killed
        return whole(*args, **kwargs)

    with monkeypatch.context() as patch:
        target, _, name = place.rpartition(".")
        module, _, owner = target.rpartition(".")
        home = getattr(__import__(module, fromlist=["_"]), owner) if owner[0].isupper() else None
        home = home or __import__(target, fromlist=["_"])
        whole = getattr(home, name)
        patch.setattr(home, name, die)
        try:
            train(tmp_path / "run")
        except Killed:
            assert len(calls) == call
    train(tmp_path / "run")
    assert_same(ending(tmp_path / "run"), undisturbed)


def test_a_finished_run_goes_on_to_the_same_end(train, undisturbed, tmp_path):
    train(tmp_path / "run")
    train(tmp_path / "run")
    assert_same(ending(tmp_path / "run"), undisturbed)


def die_at(step: int, stage: str | None = None) -> Callable[[StageLoop, int], None]:
    """In place of `StageLoop._save_or_stop`: the process ends after that of a step."""
    save_or_stop = StageLoop._save_or_stop

    def save_and_die(loop: StageLoop, at: int) -> None:
        save_or_stop(loop, at)
        if at == step and stage in (None, loop.stage.name):
            raise Killed

    return save_and_die


@pytest.mark.parametrize("settings", [{"direct": True}, {"stages": ["one"]}], ids=["direct", "stage one alone"])
def test_one_stage_goes_on_too(train, tmp_path, settings, monkeypatch):
    train(tmp_path / "whole", **settings)
    with monkeypatch.context() as patch:
        patch.setattr(StageLoop, "_save_or_stop", die_at(4))
        with pytest.raises(Killed):
            train(tmp_path / "run", **settings)
    train(tmp_path / "run", **settings)
    name = "model" if "direct" in settings else "adapter"
    (one,) = (tmp_path / "whole" / name).glob("*.safetensors")
    (other,) = (tmp_path / "run" / name).glob("*.safetensors")
    one, other = load_file(one), load_file(other)
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_cluster_that_asks_is_answered(train, undisturbed, tmp_path, monkeypatch, number):
    step = StageLoop._step

    def ask(loop, at):
        if (loop.stage.name, at) == ("two", 3):
            os.kill(os.getpid(), number)
        return step(loop, at)

    with monkeypatch.context() as patch:
        patch.setattr(StageLoop, "_step", ask)
        with pytest.raises(
            Preempted, match="stage two is saved at step 3; the same command with --resume auto goes on"
        ):
            train(tmp_path / "run")
    train(tmp_path / "run")
    assert_same(ending(tmp_path / "run"), undisturbed)


def test_a_request_between_the_stages(train, undisturbed, tmp_path, monkeypatch):
    place = RunWeights._place

    def ask(weights, stage, best_step, target):
        os.kill(os.getpid(), signal.SIGTERM)
        return place(weights, stage, best_step, target)

    with monkeypatch.context() as patch:
        patch.setattr(RunWeights, "_place", ask)
        with pytest.raises(Preempted, match="stage one is done"):
            train(tmp_path / "run")
        with pytest.raises(Preempted, match="stage one is done"):
            train(tmp_path / "run")
    train(tmp_path / "run")
    assert_same(ending(tmp_path / "run"), undisturbed)


def interrupted(train: Callable[..., TwoStageTrainer], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves a run that was killed in stage two after its checkpoint of step 4."""
    with monkeypatch.context() as patch:
        patch.setattr(StageLoop, "_save_or_stop", die_at(4, "two"))
        with pytest.raises(Killed):
            train(folder)


def test_the_command_says_how_to_go_on_and_succeeds(monkeypatch, caplog, make_args, tmp_path):
    message = "asked to stop: stage one is saved at step 3"
    monkeypatch.setattr(TwoStageTrainer, "train", lambda trainer: (_ for _ in ()).throw(Preempted(message)))
    monkeypatch.setattr(
        train_command,
        "parse_arguments",
        lambda argv: make_args(
            dataset="synthetic_pedes",
            dataset_options={"train_identities": 4, "validation_identities": 1, "test_identities": 1},
            data_dir=str(tmp_path / "data"),
        ),
    )
    assert train_command.main([]) == 0
    assert message in caplog.text


def test_other_settings_are_named(train, tmp_path, monkeypatch):
    interrupted(train, tmp_path / "run", monkeypatch)
    with pytest.raises(ValueError, match=r"seed 0 there and 1 here; batch_size 4 there and 6 here\. Take those of"):
        train(tmp_path / "run", seed=1, batch_size=6, num_workers=1)


def test_another_training_set_is_noticed(train, tmp_path, monkeypatch, splits):
    interrupted(train, tmp_path / "run", monkeypatch)
    monkeypatch.setitem(splits, "train", splits["train"].select(range(8)))
    with pytest.raises(ValueError, match=r"other data .* annotations of the train split \(rows, image_id"):
        train(tmp_path / "run")


@pytest.mark.parametrize("change", ["weights", "image settings", "vocabulary"])
@pytest.mark.parametrize("stage", ["one", "two"])
def test_another_base_model_in_its_place_is_noticed(train, tmp_path, tiny_clip_folder, monkeypatch, stage, change):
    base = shutil.copytree(tiny_clip_folder, tmp_path / "base")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(StageLoop, "_save_or_stop", die_at(4, stage))
        train(tmp_path / "run", base_model=str(base))
    if change == "weights":
        weights = load_file(base / "model.safetensors")
        weights["visual_projection.weight"] += 0.01
        save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    elif change == "vocabulary":
        vocabulary = json.loads((base / "vocab.json").read_text())
        vocabulary["red</w>"], vocabulary["b"] = vocabulary["b"], vocabulary["red</w>"]
        (base / "vocab.json").write_text(json.dumps(vocabulary))
    else:
        settings = json.loads((base / "preprocessor_config.json").read_text())
        (base / "preprocessor_config.json").write_text(json.dumps(settings | {"image_mean": [0.5, 0.5, 0.5]}))
    monkeypatch.setattr(StageLoop, "_step", lambda *args: pytest.fail("a step was taken"))
    with pytest.raises(ValueError, match=f"from another base model or adapter than .*; different: {change}. Put"):
        train(tmp_path / "run", base_model=str(base))


@contextlib.contextmanager
def full_disk_from(step: int, stage: str) -> Iterator[None]:
    """No file grows beyond 100 kB once that step is taken: writers fail as on a full disk, each in its own way."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    take = StageLoop._step

    def fill(loop: StageLoop, at: int) -> dict[str, torch.Tensor]:
        if (loop.stage.name, at) == (stage, step):
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        return take(loop, at)

    StageLoop._step = fill
    try:
        yield
    finally:
        StageLoop._step = take
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(("step", "failing"), [(3, "stage_two-step_3-best"), (4, "stage_two-step_4")])
def test_a_disk_that_is_full_in_the_middle(train, undisturbed, tmp_path, step, failing):
    whole = tmp_path / "run" / "checkpoints" / "stage_two-step_2"
    message = f"{failing} cannot be written .*{whole} is whole: mend this, then go on from it with --resume auto"
    with full_disk_from(step, "two"), pytest.raises(OSError, match=message):
        train(tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))
    train(tmp_path / "run")
    assert_same(ending(tmp_path / "run"), undisturbed)


def test_the_command_ends_with_status_1_where_the_disk_is_full(make_args, monkeypatch, tmp_path, capsys):
    persons = {"train_identities": 4, "validation_identities": 1, "test_identities": 1}
    options = {"dataset": "synthetic_pedes", "dataset_options": persons, "data_dir": str(tmp_path / "data")}
    monkeypatch.setattr(train_command, "parse_arguments", lambda argv: make_args(**options, **SETTINGS))
    with full_disk_from(2, "two"):
        assert prompt_clip(["train"]) == 1
    said = capsys.readouterr().err
    assert "prompt-clip train: error: checkpoint" in said and "--resume auto" in said and "Traceback" not in said


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["flipped bit", "missing"])
def test_damaged_best_weights_are_made_again_from_an_earlier_state(
    train, undisturbed, tmp_path, monkeypatch, caplog, damage
):
    interrupted(train, tmp_path / "run", monkeypatch)
    best = tmp_path / "run" / "checkpoints" / "stage_two-step_3-best" / "model.safetensors"
    flip_a_bit(best) if damage == "flipped bit" else shutil.rmtree(best.parent)
    train(tmp_path / "run")
    assert f"stage_two-step_4 is damaged: {best if damage == 'flipped bit' else best.parent}" in caplog.text
    assert_same(ending(tmp_path / "run"), undisturbed)


@pytest.mark.parametrize("place", ["adapter/adapter_model.safetensors", "model/model.safetensors"])
def test_damaged_weights_of_a_finished_stage_are_refused_before_anything_runs(
    train, undisturbed, tmp_path, monkeypatch, place
):
    train(tmp_path / "run")
    flip_a_bit(tmp_path / "run" / place)
    with pytest.raises(ValueError, match=f"{place} is not what was written: put it back .* overwrite_output_dir"):
        train(tmp_path / "run")
    (tmp_path / "run" / place).unlink()
    with pytest.raises(FileNotFoundError, match=f"{place} is missing: put it back"):
        train(tmp_path / "run")


def test_a_run_of_an_earlier_version_goes_on_with_warnings(train, undisturbed, tmp_path, monkeypatch, caplog):
    interrupted(train, tmp_path / "run", monkeypatch)
    for path in (tmp_path / "run" / "checkpoints").glob("*/checkpoint.json"):
        content = json.loads(path.read_text())
        content.pop("best", None)
        del content["facts"]["data"], content["facts"]["model"], content["facts"]["finished"]
        path.write_text(json.dumps(content))
    progress = tmp_path / "run" / "progress.json"
    content = json.loads(progress.read_text())
    del content["one"]["data"], content["one"]["model"], content["one"]["weights"]
    progress.write_text(json.dumps(content))
    train(tmp_path / "run")
    assert "written without hashes by an earlier version" in caplog.text
    assert "no fingerprint of the data" in caplog.text and "no fingerprint of the base model" in caplog.text
    assert_same(ending(tmp_path / "run"), undisturbed)


@pytest.mark.parametrize("lost", ["progress.json", "plots", "results.json", "metrics.jsonl"])
def test_what_was_removed_is_made_again_or_said_to_be_lost(train, tmp_path, monkeypatch, caplog, lost):
    interrupted(train, tmp_path / "run", monkeypatch)
    path = tmp_path / "run" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    train(tmp_path / "run")
    assert (tmp_path / "run" / "README.md").is_file() and path.exists()
    if lost != "plots":
        assert f"{path} is missing" in caplog.text


def test_missing_settings_are_named_and_not_taken_for_no_run(train, tmp_path, tiny_run):
    shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "run" / "config.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"run/config\.yaml of the run to go on with is missing: put it back"):
        train(tmp_path / "run")


def test_rows_that_evaluate_added_stay_and_do_no_harm(train, tmp_path, monkeypatch):
    interrupted(train, tmp_path / "run", monkeypatch)
    results = tmp_path / "run" / "results.json"
    added = {"method": "runs/x", "split": "test", "direction": "text_to_image", "metrics": {"R@1": 1.0}}
    results.write_text(json.dumps([*json.loads(results.read_text()), added]))
    train(tmp_path / "run")
    rows = json.loads(results.read_text())
    assert (
        added in rows
        and [row["stage"] for row in rows if row.get("split") == "test" and "stage" in row] == ["two"] * 2
    )


def test_a_checkpoint_that_lacks_a_tensor_is_refused_by_its_name(train, tmp_path, monkeypatch):
    interrupted(train, tmp_path / "run", monkeypatch)
    for state in (tmp_path / "run" / "checkpoints").glob("stage_two-step_[0-9]"):
        weights = load_file(state / "weights" / "model.safetensors")
        del weights["visual_projection.weight"]
        save_file(weights, state / "weights" / "model.safetensors")
        content = json.loads((state / "checkpoint.json").read_text())
        content["files"] = file_hashes(state)
        del content["files"]["checkpoint.json"]
        (state / "checkpoint.json").write_text(json.dumps(content))
    monkeypatch.setattr(StageLoop, "_step", lambda *args: pytest.fail("a step was taken"))
    with pytest.raises(ValueError, match=r"weights lacks tensor visual_projection\.weight"):
        train(tmp_path / "run")


def test_a_damaged_checkpoint_is_passed_over(train, undisturbed, tmp_path, monkeypatch, caplog):
    interrupted(train, tmp_path / "run", monkeypatch)
    newest = tmp_path / "run" / "checkpoints" / "stage_two-step_4"
    os.truncate(newest / "state.pt", 100)
    train(tmp_path / "run")
    assert f"stage_two-step_4 is damaged: {newest / 'state.pt'}" in caplog.text
    assert_same(ending(tmp_path / "run"), undisturbed)
