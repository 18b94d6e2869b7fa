"""A run whose disk fills, or whose files are damaged or removed, goes on to the same end or is refused in words."""

import contextlib
import json
import os
import resource
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from modeling_prompt_clip.cli import main as prompt_clip
from resuming import SETTINGS, NoStep, assert_same, ending
from trainers import TwoStageTrainer
from trainers.commands import train as train_command
from trainers.run_folder.hashes import file_hashes


@contextlib.contextmanager
def full_disk_from(step: int, stage: str) -> Iterator[TrainerCallback]:
    """A callback from whose step on no file grows beyond 100 kB, so that writers fail as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Fill(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if (args.current_stage, state.global_step + 1) == (stage, step):
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    try:
        yield Fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(("step", "failing"), [(3, "stage_two-step_3-best"), (4, "stage_two-step_4")])
def test_a_disk_that_is_full_in_the_middle(train, undisturbed, tmp_path, step, failing):
    whole = tmp_path / "run" / "checkpoints" / "stage_two-step_2"
    message = f"{failing} cannot be written .*{whole} is complete: mend this, then resume with --resume auto"
    with full_disk_from(step, "two") as fill, pytest.raises(OSError, match=message):
        train(tmp_path / "run", [fill])
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))
    train(tmp_path / "run")
    assert_same(ending(tmp_path / "run"), undisturbed)


def test_the_command_ends_with_status_1_where_the_disk_is_full(make_args, monkeypatch, tmp_path, capsys):
    persons = {"train_identities": 4, "validation_identities": 1, "test_identities": 1}
    options = {"dataset": "synthetic_pedes", "dataset_options": persons, "data_dir": str(tmp_path / "data")}
    monkeypatch.setattr(train_command, "parse_arguments", lambda argv: make_args(**options, **SETTINGS))
    with full_disk_from(2, "two") as fill:
        monkeypatch.setattr(train_command, "TwoStageTrainer", partial(TwoStageTrainer, callbacks=[fill]))
        assert prompt_clip(["train"]) == 1
    said = capsys.readouterr().err
    assert "prompt-clip train: error: checkpoint" in said and "--resume auto" in said and "Traceback" not in said


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["flipped bit", "missing"])
def test_damaged_best_weights_are_made_again_from_an_earlier_state(
    train, killed_run, undisturbed, tmp_path, caplog, damage
):
    shutil.copytree(killed_run, tmp_path / "run")
    best = tmp_path / "run" / "checkpoints" / "stage_two-step_3-best" / "model.safetensors"
    flip_a_bit(best) if damage == "flipped bit" else shutil.rmtree(best.parent)
    train(tmp_path / "run")
    assert f"stage_two-step_4 is damaged: {best if damage == 'flipped bit' else best.parent}" in caplog.text
    assert_same(ending(tmp_path / "run"), undisturbed)


@pytest.mark.parametrize("place", ["adapter/adapter_model.safetensors", "model/model.safetensors"])
def test_damaged_weights_of_a_finished_stage_are_refused_before_anything_runs(train, undisturbed_run, tmp_path, place):
    shutil.copytree(undisturbed_run, tmp_path / "run")
    flip_a_bit(tmp_path / "run" / place)
    with pytest.raises(ValueError, match=f"{place} is not what was written: put it back .* overwrite_output_dir"):
        train(tmp_path / "run")
    (tmp_path / "run" / place).unlink()
    with pytest.raises(FileNotFoundError, match=f"{place} is missing: put it back"):
        train(tmp_path / "run")


def test_a_run_of_an_earlier_version_goes_on_with_warnings(train, killed_run, undisturbed, tmp_path, caplog):
    shutil.copytree(killed_run, tmp_path / "run")
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
def test_what_was_removed_is_made_again_or_said_to_be_lost(train, killed_run, tmp_path, caplog, lost):
    shutil.copytree(killed_run, tmp_path / "run")
    path = tmp_path / "run" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    train(tmp_path / "run")
    assert (tmp_path / "run" / "README.md").is_file() and path.exists()
    if lost != "plots":
        assert f"{path} is missing" in caplog.text


def test_missing_settings_are_named_and_not_taken_for_no_run(train, tmp_path, tiny_run):
    shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "run" / "config.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"run/config\.yaml of the run to resume is missing: put it back"):
        train(tmp_path / "run")


def test_rows_that_evaluate_added_stay_and_do_no_harm(train, killed_run, tmp_path):
    shutil.copytree(killed_run, tmp_path / "run")
    results = tmp_path / "run" / "results.json"
    added = {"method": "runs/x", "split": "test", "direction": "text_to_image", "metrics": {"R@1": 1.0}}
    results.write_text(json.dumps([*json.loads(results.read_text()), added]))
    train(tmp_path / "run")
    rows = json.loads(results.read_text())
    assert (
        added in rows
        and [row["stage"] for row in rows if row.get("split") == "test" and "stage" in row] == ["two"] * 2
    )


def test_a_checkpoint_that_lacks_a_tensor_is_refused_by_its_name(train, killed_run, tmp_path):
    shutil.copytree(killed_run, tmp_path / "run")
    for state in (tmp_path / "run" / "checkpoints").glob("stage_two-step_[0-9]"):
        weights = load_file(state / "weights" / "model.safetensors")
        del weights["visual_projection.weight"]
        save_file(weights, state / "weights" / "model.safetensors")
        content = json.loads((state / "checkpoint.json").read_text())
        content["files"] = file_hashes(state)
        del content["files"]["checkpoint.json"]
        (state / "checkpoint.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"weights lacks tensor visual_projection\.weight"):
        train(tmp_path / "run", callbacks=[NoStep()])


def test_a_damaged_checkpoint_is_passed_over(train, killed_run, undisturbed, tmp_path, caplog):
    shutil.copytree(killed_run, tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "stage_two-step_4"
    os.truncate(newest / "state.pt", 100)
    train(tmp_path / "run")
    assert f"stage_two-step_4 is damaged: {newest / 'state.pt'}" in caplog.text
    assert_same(ending(tmp_path / "run"), undisturbed)
