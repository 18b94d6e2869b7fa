import sys

import pytest
import torch
from torch.nn.functional import normalize

from own_losses import soft_triplet
from trainers import TwoStageTrainer
from trainers.configs.recipes import parse_arguments
from trainers.objectives import CombinedObjective
from trainers.objectives.own import own_loss
from trainers.publishing.card_recipe import recipe_points
from trainers.run_folder.files import read_arguments
from trainers.run_folder.results import StageResult


def embeddings():
    generator = torch.Generator().manual_seed(3)
    return [normalize(torch.randn(6, 4, generator=generator), dim=1) for _ in range(2)]


def test_a_loss_of_one_s_own_is_weighted_with_ours():
    images, texts = embeddings()
    persons = torch.tensor([1, 1, 2, 3, 3, 2])
    both = CombinedObjective({"own_losses:soft_triplet": 0.5, "itc": 2.0})
    total, terms = both(images, texts, persons)
    expected = soft_triplet(images, texts, persons)
    torch.testing.assert_close(terms["own_losses:soft_triplet"], expected)
    torch.testing.assert_close(total, 0.5 * expected + 2.0 * terms["itc"])


def test_it_gets_float32_and_the_ids_under_autocast():
    images, texts = (rows.to(torch.bfloat16) for rows in embeddings())
    ids = torch.arange(6)
    with torch.autocast("cpu", torch.bfloat16):
        CombinedObjective({"own_losses:with_context": 1.0})(images, texts, ids, labels=ids, image_ids=ids)


@pytest.mark.parametrize(
    "name, message",
    [
        ("no_such_module:loss", "module no_such_module cannot be imported .ModuleNotFoundError.*PYTHONPATH"),
        ("own_losses:no_such", "own_losses.py has no function no_such; define it"),
        ("own_losses:torch", "has no function torch"),
        ("own_losses:no_context", "fails on 8 pairs of 16 numbers .TypeError: .*unexpected keyword"),
        ("own_losses:by_row", r"returns a tensor of shape \(8,\) instead of a scalar"),
        ("own_losses:a_number", "returns 0.5 instead of a scalar tensor"),
        ("own_losses:infinite", "returns (-)?inf for random embeddings"),
        ("own_losses:detached", "has no gradient"),
        ("own_losses:steep", "has a gradient that is not finite"),
    ],
)
def test_what_is_no_loss_is_refused_by_setting_and_name(name, message):
    with pytest.raises(ValueError, match=f"stage_two_objectives names '{name}'.*{message}"):
        own_loss("stage_two_objectives", name)


def test_a_module_of_the_working_directory_is_found_and_trained_with(make_args, splits, tmp_path, monkeypatch):
    (tmp_path / "losses_beside_me.py").write_text(
        "def pull(image_embeds, text_embeds, person_ids, **context):\n"
        "    return (1 - (image_embeds * text_embeds).sum(1)).mean()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    args = make_args(stages=["one"], stage_one_objectives="sdm=1,losses_beside_me:pull=0.5")
    trainer = TwoStageTrainer(args, splits=splits)
    trainer.train()
    assert '"losses_beside_me:pull":' in trainer.run.metrics.read_text()
    assert "0.5 x losses_beside_me:pull" in (trainer.run.path / "README.md").read_text()


def test_a_wrong_loss_is_refused_before_anything_is_loaded(make_args, tmp_path):
    args = make_args(stage_two_objectives="own_losses:by_row=1", base_model="no/such/model")
    with pytest.raises(ValueError, match="stage_two_objectives names 'own_losses:by_row'"):
        TwoStageTrainer(args)


def test_a_loss_of_weight_0_is_not_imported():
    CombinedObjective({"sdm": 1.0, "no_such_module:loss": 0.0})


BOOBY_TRAP = "raise SystemExit('code of a file was run')\n"


@pytest.mark.parametrize(
    "setting",
    ["stage_one_objectives: {trap:loss: 1}", "stage_two_objectives: sdm=1, trap:loss=2", "dataset: trap:load"],
)
def test_a_file_alone_starts_no_code(tmp_path, monkeypatch, setting):
    (tmp_path / "trap.py").write_text(BOOBY_TRAP)
    (tmp_path / "recipe.yaml").write_text(setting + "\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"recipe.yaml' names code in \w+: trap:lo.*add --\w+ with the same value"):
        parse_arguments(["--config", "recipe.yaml"])
    assert "trap" not in sys.modules


def test_what_the_command_line_names_too_is_meant(tmp_path, monkeypatch):
    (tmp_path / "recipe.yaml").write_text("base_model: stand-in\nstage_one_objectives: {trap:loss: 1}\n")
    monkeypatch.chdir(tmp_path)
    args = parse_arguments(["--config", "recipe.yaml", "--stage_one_objectives", "trap:loss"])
    assert args.stage_one_objectives == {"trap:loss": 1.0}


def test_reading_the_settings_of_a_run_and_its_card_start_no_code(tiny_run, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text(BOOBY_TRAP)
    config = (tiny_run / "config.yaml").read_text().replace("  sdm: 1.0", "  trap:loss: 1.0")
    (tmp_path / "config.yaml").write_text(config)
    monkeypatch.chdir(tmp_path)
    args = read_arguments(tmp_path / "config.yaml")
    assert args.stage_two_objectives == {"trap:loss": 1.0}
    assert any("trap:loss, a function of whoever" in point for point in recipe_points(args, {"two": StageResult()}))
    assert "trap" not in sys.modules
