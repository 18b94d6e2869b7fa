"""The cards that a run writes: true to the run, without a place on this machine, and their code runs."""

import json
import re
from importlib.metadata import version

import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel

from modeling_prompt_clip import PromptCLIPConfig, PromptCLIPModel
from modeling_prompt_clip.hub.model_card import render_model_card
from modeling_prompt_clip.loading import load_model
from published import card_snippets
from trainers.publishing import run_card
from trainers.publishing.content import public_config
from trainers.publishing.run_card import run_facts, summary, write_run_card
from trainers.run_folder.folder import RunFolder
from trainers.run_folder.results import StageResult


@pytest.fixture
def run(tiny_run):
    """A finished run; tests must not change it."""
    return RunFolder(tiny_run)


def results(card):
    return card.partition("## Results")[2].partition("## Limits")[0]


def test_every_snippet_of_the_run_card_runs(run, monkeypatch):
    monkeypatch.chdir(run.path)
    (code,) = card_snippets((run.path / "README.md").read_text())
    there = {}
    exec(code, there)
    assert type(there["model"]) is PromptCLIPModel and not there["model"].training
    assert there["processor"].image_size == (96, 32) and there["scores"].shape == (1, 1)


def test_every_snippet_of_the_adapter_card_runs_and_both_give_the_same(run, monkeypatch):
    monkeypatch.chdir(run.adapter)
    merged, as_adapter = {}, {}
    for code, there in zip(card_snippets((run.adapter / "README.md").read_text()), (merged, as_adapter), strict=True):
        exec(code, there)
    assert isinstance(as_adapter["model"], PeftModel)
    torch.testing.assert_close(merged["scores"], as_adapter["scores"])
    monkeypatch.chdir("/")
    assert load_model(run.adapter)[0].config.text_config.prompt_length == 4  # the README is no obstacle


def test_the_run_card_tells_what_the_run_measured(run):
    card = (run.path / "README.md").read_text()
    rows = [json.loads(json.dumps(row)) for row in run.recorded()]
    table = [line for line in card.split("\n") if re.match(r"\| (zero-shot|stage one|two-stage)", line)]
    assert len(table) == len(rows) == 6
    for row, line in zip(rows, table, strict=True):
        assert line.startswith(f"| {row['method']} | {row['split']} | {row['direction'].replace('_', ' ')} | ")
        for name in ("R@1", "mINP"):
            assert f" {row['metrics'][name]:.2f} " in line
    sizes = "12 captions; 6 images, 3 persons, at 96x32 pixels."
    assert f"Test: {sizes}" in card and f"Validation: {sizes}" in card
    assert "selected by R@1 on the validation split" in card
    assert "unit vectors of 24 dimensions" in card and "4 in each layer of the text tower" in card
    assert "Stage one: prompts only, CLIP frozen; loss sdm; learning rate 0.003" in card
    assert f"torch {version('torch')}" in card and "Python 3." in card
    assert "what was passed in Python is not" in card  # the splits


def test_prompts_that_the_base_model_brought_are_told_apart(make_args):
    config = PromptCLIPConfig(text_config={"prompt_length": 12}, vision_config={"prompt_length": 8})
    told = run_card._model_details(config, make_args(text_prompt_length=4, vision_prompt_length=8))["Prompts"]
    assert told.endswith("; 8 of those for text and 0 of those for vision came with the base model")
    assert "came with" not in run_card._model_details(config, make_args(direct=True))["Prompts"]
    same = make_args(text_prompt_length=12, vision_prompt_length=8)
    assert "came with" not in run_card._model_details(config, same)["Prompts"]


def test_the_adapter_card_tells_of_stage_one_alone(run):
    card = ModelCard.load(run.adapter / "README.md")
    assert card.data.library_name == "peft" and card.data.base_model is None  # its base is a folder of this machine
    assert "prompts of stage one" in card.text and "Stage one:" in card.text and "Stage two:" not in card.text
    assert "| stage one | validation |" in results(card.text) and "two-stage" not in results(card.text)
    assert "the test split, other seeds" in results(card.text)


def test_cards_name_no_place_and_are_whole(run, tiny_clip_folder):
    for path in (run.path / "README.md", run.adapter / "README.md"):
        card = path.read_text()
        for place in (str(run.path), str(tiny_clip_folder), str(tiny_clip_folder.parent), "/tmp", "/work"):
            assert place not in card, place
        assert "`tiny_clip`" in card and "{%" not in card and "More Information Needed" not in card


def test_an_unmeasured_run_says_so(run, make_args):
    args = make_args()
    empty = RunFolder(args.output_dir)
    empty.create(args)
    card = write_run_card(empty, args, {"two": StageResult(steps=3, best_step=3)}, ["One note."]).read_text()
    assert "the last weights of each stage were kept" in card and "No results are recorded" in card
    assert "Not measured: the test split" in card and "- One note.\n" in card
    assert not (empty.adapter / "README.md").exists()


def test_what_others_added_to_the_results_is_not_the_runs(run, make_args, tmp_path):
    args = make_args(output_dir=str(tmp_path / "other"))
    other = RunFolder(args.output_dir)
    other.create(args)
    (row,) = [row for row in run.recorded() if (row["split"], row["direction"]) == ("test", "text_to_image")]
    added = {name: value for name, value in row.items() if name != "stage"} | {"method": "/home/alice/model"}
    other.results.write_text(json.dumps([row, added]))
    assert "alice" not in write_run_card(other, args, {}).read_text()


def test_places_are_left_to_whoever_repeats_the_run(make_args, tmp_path):
    settings = {
        "dataset": "cuhk_pedes",
        "data_dir": "/data/C",
        "also_train_on": ["rstp_reid=/data/R", "alice/set", "/data/M"],
    }
    args = make_args(output_dir=str(tmp_path / "other"), **settings)
    other = RunFolder(args.output_dir)
    other.create(args)
    card = write_run_card(other, args, {}).read_text()
    places = "--base_model DIR --data_dir DIR --also_train_on rstp_reid=DIR alice/set DIR` repeats the run"
    assert f"`prompt-clip train --config config.yaml --output_dir NEW {places}" in card and "/data/" not in card


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("base_model", "/x/clip", "DIR"),
        ("adapter", "/x/run/adapter", "DIR"),
        ("dataset", "/x/set", "DIR"),
        ("data_dir", "sets", "DIR"),
        ("also_train_on", ["rstp_reid=/x/R", "/x/set", "alice/set"], "rstp_reid=DIR DIR alice/set"),
        ("also_train_on", ["rstp_reid=/x/R"], "rstp_reid=DIR"),
    ],
)
def test_a_folder_is_left_to_whoever_repeats_the_run(run, make_args, name, value, shown):
    stages = {"stages": ["two"]} if name == "adapter" else {}
    args = make_args(**{"base_model": "alice/base", name: value, **stages})
    facts = run_facts(run, args, {})
    assert f"--output_dir NEW --{name} {shown}`" in facts.repeat
    assert "/x/" not in render_model_card(facts) + public_config(args)


@pytest.mark.parametrize(
    ("settings", "stages", "told"),
    [
        ({}, ("one", "two"), "adapted to synthetic_pedes in two stages"),
        ({}, ("one",), "with deep prompts in both towers"),
        ({"stages": ["two"], "adapter": "runs/a/adapter"}, ("two",), "with the prompts of an earlier run"),
        ({"direct": True}, ("two",), "without new prompts: the baseline"),
        ({"dataset": "alice/set"}, ("one", "two"), "adapted to alice/set in"),
        ({"also_train_on": ["rstp_reid=R"]}, ("one", "two"), "adapted to synthetic_pedes and RSTPReid in"),
    ],
)
def test_what_was_made_of_what(make_args, settings, stages, told):
    assert told in summary(make_args(**settings), stages)
