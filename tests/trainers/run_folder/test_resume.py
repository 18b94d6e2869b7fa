"""A run that is killed, at whatever instant, and goes on, ends with the weights of one that was left in peace."""

import functools
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from resuming import DieAfter, Killed, NoStep, assert_same, ending
from trainers import TwoStageTrainer
from trainers.commands import train as train_command
from trainers.distributed.preemption import Preempted
from trainers.stages.best_weights import RunWeights


def killed_after(seconds: float, work: Callable[[], object]) -> int:
    """Runs `work` in a process of its own and kills it; returns its exit status, 0 where it was done before."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    return process.exitcode


def killed_when(happened: Callable[[], bool], work: Callable[[], object]) -> int:
    """The same once something has happened."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    while process.is_alive() and not happened():
        process.join(0.005)
    process.kill()
    process.join()
    return process.exitcode


def kill_and_go_on(train: Callable[..., TwoStageTrainer], folder: Path, instants: list[float]) -> list[int]:
    """Kills the run in `folder` after each of the instants, then lets it finish."""
    statuses = [killed_after(instant, lambda: train(folder)) for instant in instants]
    train(folder)
    return statuses


def test_killed_twice(train, undisturbed, tmp_path):
    folder = tmp_path / "run"
    for stage in ("one", "two"):
        saved = functools.partial((folder / "checkpoints").glob, f"stage_{stage}-*")
        assert killed_when(lambda saved=saved: any(saved()), lambda: train(folder)) == -signal.SIGKILL
    train(folder)
    assert_same(ending(tmp_path / "run"), undisturbed)
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.slow
def test_killed_at_twenty_instants(train, undisturbed, tmp_path):
    started = time.monotonic()
    assert killed_after(600, lambda: train(tmp_path / "timed")) == 0
    duration = time.monotonic() - started
    draw = random.Random(0)
    killed = runs = 0
    while killed < 20:  # on a busy machine the timed run may have been slow, and others end before their instant
        folder = tmp_path / f"run{runs}"
        killed += -signal.SIGKILL in kill_and_go_on(train, folder, [draw.uniform(0.1, 1) * duration])
        assert_same(ending(folder), undisturbed)
        runs += 1
        assert runs <= 80


@pytest.mark.parametrize(
    "place",
    [
        "trainers.data.splits.RunSplits.draw_training_set",
        "trainers.run_folder.folder.RunFolder.finish_stage",
        "trainers.stages.best_weights.RunWeights.place_adapter",
        "trainers.stages.best_weights.RunWeights.place_model",
        "trainers.stages.runner.merged_adapter",
        "trainers.stages.evaluation.ranked_strips",
        "shutil.rmtree",
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
            assert len(calls) >= call  # folders are also removed on the way out
    train(tmp_path / "run")
    assert_same(ending(tmp_path / "run"), undisturbed)


def test_a_finished_run_goes_on_to_the_same_end(train, undisturbed, tmp_path):
    train(tmp_path / "run")
    train(tmp_path / "run")
    assert_same(ending(tmp_path / "run"), undisturbed)


@pytest.mark.parametrize("settings", [{"direct": True}, {"stages": ["one"]}], ids=["direct", "stage one alone"])
def test_one_stage_goes_on_too(train, tmp_path, settings):
    train(tmp_path / "whole", **settings)
    with pytest.raises(Killed):
        train(tmp_path / "run", [DieAfter(4)], **settings)
    train(tmp_path / "run", **settings)
    name = "model" if "direct" in settings else "adapter"
    (one,) = (tmp_path / "whole" / name).glob("*.safetensors")
    (other,) = (tmp_path / "run" / name).glob("*.safetensors")
    one, other = load_file(one), load_file(other)
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_cluster_that_asks_is_answered(train, undisturbed, tmp_path, number):
    class Asked(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if (args.current_stage, state.global_step) == ("two", 2):
                os.kill(os.getpid(), number)

    with pytest.raises(Preempted, match="stage two is saved at step 3; resume with the same command"):
        train(tmp_path / "run", [Asked()])
    train(tmp_path / "run")
    assert_same(ending(tmp_path / "run"), undisturbed)


def test_a_request_between_the_stages(train, undisturbed, tmp_path, monkeypatch):
    place = RunWeights.place_adapter

    def ask(weights, best_step):
        os.kill(os.getpid(), signal.SIGTERM)
        return place(weights, best_step)

    with monkeypatch.context() as patch:
        patch.setattr(RunWeights, "place_adapter", ask)
        with pytest.raises(Preempted, match="stage one is done"):
            train(tmp_path / "run")
        with pytest.raises(Preempted, match="stage one is done"):
            train(tmp_path / "run")
    train(tmp_path / "run")
    assert_same(ending(tmp_path / "run"), undisturbed)


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


def test_other_settings_are_named(train, killed_run, tmp_path):
    shutil.copytree(killed_run, tmp_path / "run")
    with pytest.raises(ValueError, match=r"seed 0 there and 1 here; batch_size 4 there and 6 here\. Take those of"):
        train(tmp_path / "run", seed=1, batch_size=6, num_workers=1)


def test_another_training_set_is_noticed(train, killed_run, tmp_path, monkeypatch, splits):
    shutil.copytree(killed_run, tmp_path / "run")
    monkeypatch.setitem(splits, "train", splits["train"].select(range(8)))
    with pytest.raises(ValueError, match=r"other data .* annotations of the train split \(rows, image_id"):
        train(tmp_path / "run")


@pytest.mark.parametrize("change", ["weights", "image settings", "vocabulary"])
@pytest.mark.parametrize("stage", ["one", "two"])
def test_another_base_model_in_its_place_is_noticed(train, tmp_path, tiny_clip_folder, stage, change):
    base = shutil.copytree(tiny_clip_folder, tmp_path / "base")
    with pytest.raises(Killed):
        train(tmp_path / "run", [DieAfter(4, stage)], base_model=str(base))
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
    with pytest.raises(ValueError, match=f"from another base model or adapter than .*; different: {change}. Put"):
        train(tmp_path / "run", [NoStep()], base_model=str(base))
