"""Splits that a run drew are drawn as the run did, and nobody whom it was trained on is tested unsaid."""

import json
import logging
import shutil

import datasets
import pytest
import yaml

from dataset_scripts import load_person_search
from modeling_prompt_clip import cli
from person_search_folders import make_folder
from trainers import TwoStageTrainer
from trainers.run_folder.evaluated_data import check_earlier_runs, evaluated_data
from trainers.run_folder.folder import RunFolder
from trainers.run_folder.settings import settings_of_model


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def people(tmp_path):
    """Ten persons with names, without splits."""
    return make_folder("custom_names", tmp_path / "people")


@pytest.fixture
def recorded_run(people, make_args, tmp_path, tiny_clip_folder):
    """A folder with the settings of a run and a model, as far as evaluation reads them."""

    def make(name="run", **settings):
        args = make_args(
            **{"dataset": "custom", "data_dir": str(people), "output_dir": str(tmp_path / name)} | settings
        )
        run = RunFolder(args.output_dir)
        run.create(args)
        shutil.copytree(tiny_clip_folder, run.model)
        return run

    return make


def test_the_data_that_are_taken_from_the_run_are_told(recorded_run, people, caplog):
    run = recorded_run(dataset_options={"split_seed": 4, "test_share": 0.4})
    with caplog.at_level(logging.INFO):
        evaluated_data([str(run.path)], None, None, {})
    assert f"data: custom in {people} with split_seed=4, test_share=0.4, as {run.path} was trained" in caplog.text
    caplog.clear()
    evaluated_data([str(run.path)], "custom", people, {})
    assert not caplog.text


def without_rule(run):
    """Make a run folder one of earlier versions."""
    settings = yaml.safe_load(run.config.read_text())
    del settings["split_rule"]
    run.config.write_text(yaml.safe_dump(settings))


DRAW = {"split_seed": 4, "test_share": 0.4}


@pytest.mark.parametrize("part", ["", "model", "checkpoints/two-best/weights"])
@pytest.mark.parametrize("data", [None, "custom", "auto", "moved"])
def test_the_options_of_the_run_are_taken(recorded_run, people, tmp_path, part, data):
    run = recorded_run(dataset_options=DRAW)
    model = run.path / part
    model.mkdir(parents=True, exist_ok=True)
    named = {None: (None, None), "custom": ("custom", people), "auto": (str(people), None)}
    if data == "moved":
        people.rename(tmp_path / "elsewhere")
    name, folder = named.get(data, ("custom", tmp_path / "elsewhere"))
    assert evaluated_data([str(model)], name, folder, {}).options == DRAW


def test_the_draw_of_a_run_is_taken_from_either_model(recorded_run, people, tiny_clip_folder):
    run = recorded_run(dataset_options=DRAW)
    assert evaluated_data([str(tiny_clip_folder), str(run.path)], "custom", people, {}).options == DRAW
    with pytest.raises(ValueError, match="data is not named, and stand-in has no config.yaml"):
        evaluated_data(["stand-in"], None, None, {})


@pytest.mark.parametrize(
    ("trained", "given", "told"),
    [
        (DRAW, {"split_seed": 0}, "split_seed 4 there and 0 here"),
        ({}, {"split_seed": 1}, "split_seed 0 there and 1 here"),
        (DRAW, {"test_share": 0.1}, "test_share 0.4 there and 0.1 here"),
        ({}, {"split_rule": "numbers"}, "split_rule 'names' there and 'numbers' here"),
        ({"validation_share": 0, "test_share": 0}, {"test_share": 0.2}, "test_share 0 there and 0.2 here"),
    ],
)
def test_another_draw_of_the_same_set_is_refused(recorded_run, people, trained, given, told):
    run = recorded_run(dataset_options=trained)
    with pytest.raises(ValueError, match=told):
        evaluated_data([str(run.path)], "custom", people, given)


def test_the_same_draw_may_be_named(recorded_run, people):
    run = recorded_run()
    evaluated_data([str(run.path)], "custom", people, {"validation_share": 0.1, "split_seed": 0})


def test_another_draw_of_a_set_that_moved_is_a_warning(recorded_run, people, tmp_path, caplog):
    run = recorded_run(dataset_options=DRAW)
    people.rename(tmp_path / "elsewhere")
    evaluated_data([str(run.path)], "custom", tmp_path / "elsewhere", {"split_seed": 1})
    assert "split_seed 4 there and 1 here" in caplog.text and "trained on some of those tested" in caplog.text


def test_two_models_of_two_draws_are_not_compared(recorded_run, people):
    first, second = recorded_run(), recorded_run("second", dataset_options=DRAW)
    with pytest.raises(ValueError, match=f"the run in .*second drew the splits of {people.name} by"):
        evaluated_data([str(first.path), str(second.path)], "custom", people, {})


def test_a_set_that_was_joined_counts_too(recorded_run, people, tmp_path):
    other = make_folder("custom", tmp_path / "other")
    run = recorded_run(data_dir=str(other), also_train_on=[f"custom={people}"])
    with pytest.raises(ValueError, match="split_seed 0 there and 3 here"):
        evaluated_data([str(run.path)], "custom", people, {"split_seed": 3})


def test_a_set_of_own_splits_is_left_alone(recorded_run, tmp_path):
    run = recorded_run(dataset_options=DRAW)
    other = make_folder("custom", tmp_path / "other")
    chosen = evaluated_data([str(run.path)], str(other), None, {})
    assert load_person_search(chosen.name, chosen.data_dir, "test", **chosen.options)


def test_identities_of_the_synthetic_set(recorded_run):
    options = {"train_identities": 40, "seed": 1}
    run = recorded_run(dataset="synthetic_pedes", data_dir=None, dataset_options=options)
    assert evaluated_data([str(run.path)], None, None, {}).options == options
    assert evaluated_data([str(run.path)], "synthetic_pedes", None, {"seed": 1}).options == options
    with pytest.raises(ValueError, match="train_identities 40 there and 20 here"):
        evaluated_data([str(run.path)], "synthetic_pedes", None, {"seed": 1, "train_identities": 20})
    another = {"seed": 2, "train_identities": 20}  # other persons
    assert evaluated_data([str(run.path)], "synthetic_pedes", None, another).options == another


def test_a_run_of_before_keeps_its_draw(recorded_run, people, make_args):
    run = recorded_run()
    without_rule(run)
    assert settings_of_model(run.model)[1].split_rule == "numbers"
    assert evaluated_data([str(run.path)], "custom", people, {}).options == {"split_rule": "numbers"}
    settings = {"dataset": "custom", "data_dir": str(people), "output_dir": str(run.path)}
    later = run.drawn_as_before(make_args(resume="auto", **settings))
    assert later.split_rule == "numbers" and run.can_go_on(later)
    assert run.drawn_as_before(make_args(**settings)).split_rule == "names"


def test_a_base_model_of_another_draw_is_refused(recorded_run, people, make_args):
    run = recorded_run(dataset_options=DRAW)
    settings = {"base_model": str(run.model), "dataset": "custom", "data_dir": str(people)}
    with pytest.raises(ValueError, match="split_seed 4 there and 0 here"):
        check_earlier_runs(make_args(**settings))
    check_earlier_runs(make_args(**settings, dataset_options=DRAW))


def test_damaged_settings_are_no_settings(recorded_run):
    run = recorded_run()
    run.config.write_text("[1, 2")
    with pytest.raises(ValueError, match=r"config.yaml cannot be read as the settings of a run"):
        settings_of_model(run.path)
    with pytest.raises(ValueError, match=r"config.yaml cannot be read as the settings of a run"):
        settings_of_model(run.path / "model")
    run.metrics.unlink()
    assert settings_of_model(run.path / "model") is None  # a file of somebody else


def test_a_run_that_drew_its_splits_on_a_set_of_others(recorded_run, people, tmp_path, caplog):
    run = recorded_run(dataset_options=DRAW)
    assert cli.main(["data", "convert", str(people), str(tmp_path / "parquet")]) == 0  # which draws by other options
    assert evaluated_data([str(run.path)], str(tmp_path / "parquet"), None, {}).options == {}
    assert f"drew its splits of {people.name}, parquet has splits of its own" in caplog.text


@pytest.mark.parametrize("place", ["file", "file/inside"])
def test_an_output_that_is_a_file_is_refused_before_anything_is_computed(tiny_clip_folder, tmp_path, place, capsys):
    (tmp_path / "file").write_text("mine")
    assert cli.main(["evaluate", str(tiny_clip_folder), "--data", "nothing", "--output", str(tmp_path / place)]) == 1
    assert f"output {tmp_path / place} cannot be a folder: {tmp_path / 'file'} is a file" in capsys.readouterr().err


def test_a_run_is_evaluated_as_it_was_trained(people, make_args, capsys, caplog):
    args = make_args(
        dataset="custom", data_dir=str(people), dataset_options=DRAW | {"validation_share": 0}, batch_size=2,
        stage_one_max_steps=1, stage_two_max_steps=1,
    )  # fmt: skip
    trainer = TwoStageTrainer(args)
    trainer.train()
    recorded = {row["direction"]: row for row in trainer.run.recorded() if row["split"] == "test"}
    assert recorded["text_to_image"]["drawn_splits"]["split_seed"] == 4
    assert cli.main(["evaluate", str(trainer.run.path), "--split", "test", "--json"]) == 0
    for row in json.loads(capsys.readouterr().out):
        for name in ("metrics", "image_size", "persons", "images", "captions", "drawn_splits"):
            assert row[name] == recorded[row["direction"]][name], name
    cli.main(["evaluate", str(trainer.run.path), "--split", "test"])
    assert "drawn by split_seed 4 (validation_share 0, test_share 0.4)" in capsys.readouterr().out.splitlines()[0]
    card = (trainer.run.path / "README.md").read_text()
    assert "at 96x32 pixels; drawn by split_seed 4 (validation_share 0, test_share 0.4)" in card


def test_a_model_nobody_knows_the_run_of_is_told(people, tiny_clip_folder, caplog, capsys):
    with caplog.at_level(logging.WARNING):
        cli.main(["evaluate", str(tiny_clip_folder), "--data", str(people), "--split", "test"])
    assert "has no config.yaml of a run beside it: nobody can tell" in caplog.text + capsys.readouterr().err
