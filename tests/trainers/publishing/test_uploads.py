"""Runs that upload themselves while they train, to a Hub of the test's own, by the real clients."""

import json
import logging
import os
import shutil
import socket
import threading
import time
from dataclasses import replace

import datasets
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.utils import are_progress_bars_disabled
from torch import multiprocessing

from dataset_scripts.common.hub import push_folder
from modeling_prompt_clip.cli import main as prompt_clip
from modeling_prompt_clip.hub.remote_code import REMOTE_FILES
from modeling_prompt_clip.loading import load_model
from modeling_prompt_clip.retrieval import TextToImageEvaluator
from trainers.publishing import uploads
from trainers.run_folder.folder import RunFolder
from trainers.two_stage import TwoStageTrainer

REPO = "alice/tiny-people"
OFFER = uploads.HubUploads.offer


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Each upload is waited for, so that none is left out because the one before it is on its way."""

    def wait(self, *args):
        OFFER(self, *args)
        self.wait()

    monkeypatch.setattr(uploads.HubUploads, "offer", wait)


@pytest.fixture
def train(make_args, splits):
    def run(**settings):
        settings = {"push_to_hub": True, "hub_model_id": REPO, "eval_steps": 1, **settings}
        trainer = TwoStageTrainer(make_args(**settings), splits=splits)
        trainer.train()
        return trainer

    return run


def messages(hub):
    return [commit.message for commit in hub.repository("model", REPO).commits if "initial" not in commit.message]


def test_at_the_end_the_run_is_there(hub, train, splits):
    trainer = train()
    assert hub.repository("model", REPO).private and messages(hub) == ["Upload model"]
    model, processor = load_model(REPO)
    rows = json.loads((trainer.run.path / "results.json").read_text())
    reported = next(row for row in rows if row["split"] == "test" and row["direction"] == "text_to_image")
    measured = TextToImageEvaluator(splits["test"], processor).by_direction(model)["text_to_image"]
    assert measured.to_dict() == reported["metrics"]
    assert trainer.push_to_hub().commit == hub.repository("model", REPO).commits[-1].sha
    assert messages(hub) == ["Upload model"]  # nothing has changed since
    assert trainer.push_to_hub("alice/other", private=False, license="mit").private is False
    assert ModelCard(hub.files("model", "alice/other")["README.md"].decode()).data.license == "mit"


def test_every_save_sends_the_model_of_that_step(hub, train, monkeypatch, tmp_path):
    seen = {}

    def look(*args, message, **options):
        push_folder(*args, message=message, **options)
        seen[message] = hub.files("model", REPO)

    monkeypatch.setattr(uploads, "push_folder", look)
    trainer = train(hub_strategy="every_save", save_steps=1)
    # stage one's prompts belong to a folder of this machine; the last step is the finished run's
    assert list(seen) == ["Weights of stage two, step 1", "Weights of stage two, step 2"]
    files = seen["Weights of stage two, step 1"]
    assert {"model.safetensors", "config.json", "tokenizer.json", "config.yaml", *REMOTE_FILES} <= set(files)
    assert "output_dir" not in yaml.safe_load(files["config.yaml"])
    card = files["README.md"].decode()
    assert "after 1 steps" in card and "must not be used for" in card and "Nothing has been tested yet" in card
    assert ModelCard(card).data.eval_results is None and str(tmp_path) not in card
    for name, content in files.items():
        (tmp_path / "there" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "there" / name).write_bytes(content)
    assert load_model(tmp_path / "there")[0].config.vision_config.image_height_width == (96, 32)
    assert messages(hub) == [*seen, "Upload model"]
    assert not list(trainer.run.checkpoints.iterdir())
    assert (
        trainer.run.model.joinpath("model.safetensors").read_bytes() == hub.files("model", REPO)["model.safetensors"]
    )


def test_the_best_weights_and_prompts_of_a_base_model_on_the_hub(hub, train, tiny_clip_folder, monkeypatch, tmp_path):
    hub.add_repository("model", "alice/base", {path.name: path.read_bytes() for path in tiny_clip_folder.iterdir()})
    rising = iter(range(1, 100))
    measure = TextToImageEvaluator.by_direction

    def improve(self, model):  # random weights on six persons: scores would not rise by themselves
        found = measure(self, model)
        better = replace(found["text_to_image"], recalls={1: float(next(rising)), 5: 100.0, 10: 100.0})
        return {**found, "text_to_image": better}

    monkeypatch.setattr(TextToImageEvaluator, "by_direction", improve)
    seen = []

    def look(*args, **options):
        push_folder(*args, **options)
        files = hub.files("model", REPO)
        loaded = load_model(REPO)[0].config.text_config.prompt_length
        base = json.loads(files.get("adapter_config.json", "{}")).get("base_model_name_or_path")
        seen.append((loaded, base, "model.safetensors" in files, "Training continues" in files["README.md"].decode()))

    monkeypatch.setattr(uploads, "push_folder", look)
    train(hub_strategy="best", base_model="alice/base")
    # an adapter, then a model: whoever loads by name need not know
    assert seen == [(4, "alice/base", False, True)] * 3 + [(4, None, True, True)] * 3
    steps = [f"Weights of stage {stage}, step {step}" for stage in ("one", "two") for step in (1, 2, 3)]
    assert messages(hub) == [*steps, "Upload model"]
    assert "adapter_config.json" not in hub.files("model", REPO)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hub_model_id": None}, "hub_model_id is not; name the repository"),
        ({"hub_model_id": "people"}, "hub_model_id is 'people', but must be USER/NAME"),
        ({"hub_strategy": "always"}, "hub_strategy is 'always'; it must be one of end, best, every_save"),
        ({"stages": ["one"]}, "prompts of base_model .*, which nobody else has"),
    ],
)
def test_wrong_settings_are_known_before_training(hub, train, settings, message, monkeypatch):
    monkeypatch.setattr(TwoStageTrainer, "stage_one", lambda *args: pytest.fail("it trains"))
    with pytest.raises(ValueError, match=message):
        train(**settings)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_hub_that_refuses_is_known_before_training(hub, train, status, monkeypatch):
    hub.fail("/api/repos/create", status=status, times=100)
    monkeypatch.setattr(TwoStageTrainer, "stage_one", lambda *args: pytest.fail("it trains"))
    with pytest.raises(OSError, match=f"{REPO} cannot be pushed: HTTP status {status}"):
        train()


def test_a_public_repository_is_not_filled_by_accident(hub, train):
    hub.add_repository("model", REPO)
    with pytest.raises(ValueError, match="exists and is public"):
        train()
    train(hub_private_repo=False)
    assert not hub.repository("model", REPO).private


@pytest.mark.parametrize(
    "fault", [*(pytest.param(each, marks=pytest.mark.slow) for each in (409, 412)), 429, 500, None]
)
def test_a_hub_that_fails_midway_costs_nothing(hub, train, fault, caplog, make_args, tmp_path, splits, capsys):
    if fault is None:
        hub.drop("/commit/|/_lfs/|/batch$", times=1000)
    else:
        hub.fail("/commit/", status=fault, times=1000)
    with caplog.at_level(logging.WARNING), pytest.raises(OSError, match=f"^{REPO} cannot be pushed: ") as error:
        train(hub_strategy="every_save", save_steps=1, stages=["two"], direct=True)
    assert caplog.text.count("Training continues.") == 2 and hub.token not in caplog.text
    run = tmp_path / "run"
    assert f"prompt-clip push {run} --repo {REPO}" in str(error.value)
    assert (run / "README.md").is_file() and not list((run / "checkpoints").iterdir())
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    hub.heal()
    assert prompt_clip(["push", str(run), "--repo", REPO]) == 0
    assert hub.files("model", REPO)["model.safetensors"] == (run / "model" / "model.safetensors").read_bytes()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_what_falls_due_meanwhile_is_left_out(make_args, tmp_path, caplog, tiny_adapter_folder, monkeypatch):
    args = make_args(push_to_hub=True, hub_model_id=REPO, hub_strategy="best", base_model="alice/base")
    run = RunFolder(args.output_dir)
    run.create(args).close()
    goes_on = threading.Event()
    monkeypatch.setattr(uploads, "push_folder", lambda *args, **kwargs: goes_on.wait(60))
    sender = uploads.HubUploads(args, run)
    weights = shutil.copytree(tiny_adapter_folder, tmp_path / "weights")
    with caplog.at_level(logging.INFO):
        OFFER(sender, "best", "one", 1, weights)
        shutil.rmtree(weights)  # it has been copied
        OFFER(sender, "best", "one", 2, weights)
    goes_on.set()
    sender.wait()
    assert "step 2 of stage one is not uploaded" in caplog.text
    assert not list(run.checkpoints.iterdir())


def test_what_lies_beside_the_weights_stays(hub, train, monkeypatch):
    def beside(self, occasion, stage, step, weights):
        (weights / "notes.txt").write_text("mine")
        OFFER(self, occasion, stage, step, weights)
        self.wait()

    monkeypatch.setattr(uploads.HubUploads, "offer", beside)
    train(hub_strategy="every_save", save_steps=2, stages=["two"], direct=True)
    commits = hub.repository("model", REPO).commits
    assert len(commits) == 3 and not any("notes.txt" in commit.files for commit in commits)


def test_low_rank_updates_wait_for_the_end(hub, train, caplog):
    with caplog.at_level(logging.INFO):
        train(hub_strategy="best", stages=["two"], direct=True, stage_two_lora_rank=2)
    assert messages(hub) == ["Upload model"]
    assert caplog.text.count("low-rank updates are merged when it is done: uploads come later") == 1


def test_the_last_upload_is_waited_for_and_leaves_the_bars(hub, train, monkeypatch):
    monkeypatch.setattr(uploads.HubUploads, "offer", OFFER)  # nobody waits on the way

    def slowly(*args, **options):
        time.sleep(1.5)
        push_folder(*args, **options)

    monkeypatch.setattr(uploads, "push_folder", slowly)
    before = are_progress_bars_disabled()
    trainer = train(hub_strategy="every_save", save_steps=2, stages=["two"], direct=True)
    assert messages(hub) == ["Weights of stage two, step 2", "Upload model"]
    assert are_progress_bars_disabled() == before and not list(trainer.run.path.glob(".upload.*"))


def test_a_full_disk_costs_an_upload_and_no_training(hub, train, monkeypatch, caplog):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr("trainers.publishing.content.copy_files", full)
        with pytest.raises(OSError, match="No space left.*to try again: prompt-clip push"):
            train(hub_strategy="every_save", save_steps=2, stages=["two"], direct=True)
    assert (
        "step 2 of stage two is not uploaded ([Errno 28] No space left on device). Training continues." in caplog.text
    )


def test_what_hf_xet_raises_is_a_warning(make_args, tiny_adapter_folder, caplog, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("CAS service error")

    monkeypatch.setattr(uploads, "push_folder", broken)
    args = make_args(push_to_hub=True, hub_model_id=REPO, hub_strategy="best", base_model="alice/base")
    run = RunFolder(args.output_dir)
    run.create(args).close()
    with caplog.at_level(logging.WARNING):
        uploads.HubUploads(args, run).offer("best", "one", 1, tiny_adapter_folder)
    assert "CAS service error Training continues." in caplog.text and not list(run.path.glob(".upload.*"))


def test_a_run_that_goes_on_does_not_need_the_hub_at_once(hub, make_args, tmp_path, caplog):
    sender = uploads.HubUploads(make_args(push_to_hub=True, hub_model_id=REPO), RunFolder(tmp_path / "run"))
    left = tmp_path / "run" / ".upload.x"
    left.mkdir(parents=True)
    hub.fail("/api/repos/create", status=500, times=100)
    sender.open(goes_on=True)
    assert "HTTP status 500" in caplog.text and not left.exists()
    with pytest.raises(OSError, match="HTTP status 500"):
        sender.open()


def test_somebody_elses_repository_is_known_before_training(hub, make_args, tmp_path):
    hub.add_repository("model", "bob/people")
    args = make_args(push_to_hub=True, hub_model_id="bob/people", hub_private_repo=False)
    with pytest.raises(OSError, match="bob/people cannot be pushed: HTTP status 403"):
        uploads.HubUploads(args, RunFolder(tmp_path / "run")).open()


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({}, ""),
        ({"stages": ["one"]}, " --adapter_only"),
        ({"hub_private_repo": False}, " --public"),
    ],
)
def test_the_command_that_tries_again_fits_the_run(make_args, tmp_path, settings, options):
    args = make_args(push_to_hub=True, hub_model_id=REPO, **settings)
    run = RunFolder(tmp_path / "run")
    assert uploads.HubUploads(args, run).command() == f"prompt-clip push {run.path} --repo {REPO}{options}"


def one_of_two(rank, port, args, data):
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    trainer = TwoStageTrainer(args, splits=dict(datasets.load_from_disk(data)))
    assert (trainer.uploads is None) == (rank == 1)
    trainer.train()
    trainer.accelerator.end_training()


@pytest.mark.slow
def test_one_of_two_processes_uploads(hub, make_args, splits, tmp_path, monkeypatch):
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"hub_strategy": "every_save", "save_steps": 2, "eval_steps": 2}
    args = make_args(push_to_hub=True, hub_model_id=REPO, **settings)
    for name, value in hub.environment(str(tmp_path / "home")).items():
        monkeypatch.setenv(name, value)
    multiprocessing.spawn(one_of_two, args=(port, args, str(tmp_path / "data")), nprocs=2)
    assert messages(hub)[-1] == "Upload model"
    published = tmp_path / "run" / "model" / "model.safetensors"
    assert hub.files("model", REPO)["model.safetensors"] == published.read_bytes()
