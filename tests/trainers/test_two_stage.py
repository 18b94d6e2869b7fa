import json
import logging
import re

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer, CLIPTextConfig, CLIPTextModel

from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.loading import load_model
from modeling_prompt_clip.retrieval import TextToImageEvaluator
from trainers import TwoStageTrainer
from trainers.run_folder.metrics_log import read_metrics


def tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies, on the CPU, of all parameters and buffers that are saved."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_clip_folder, splits):
    """A run of both stages, with an identity head in both."""
    from trainers.arguments.settings import TwoStageTrainingArguments

    args = TwoStageTrainingArguments(
        base_model=str(tiny_clip_folder),
        image_size=[96, 32],
        output_dir=str(tmp_path_factory.mktemp("runs") / "run"),
        batch_size=4,
        stage_one_max_steps=4,
        stage_two_max_steps=4,
        stage_one_learning_rate=1e-2,
        stage_two_learning_rate=1e-3,
        stage_one_objectives={"sdm": 1.0, "id": 0.5},
        stage_two_objectives={"sdm": 1.0, "id": 0.5},
        eval_steps=2,
        log_steps=1,
        num_workers=0,
    )
    trainer = TwoStageTrainer(args, splits=splits)
    return trainer, trainer.train()


def test_the_run_folder_holds_what_was_promised(finished):
    trainer, _ = finished
    run = trainer.run.path
    names = ("config.yaml", "metrics.jsonl", "results.json", "README.md", "checkpoints", "plots", "adapter", "model")
    assert all((run / name).exists() for name in names)
    plots = {path.name for path in (run / "plots").glob("*.png")}
    assert plots >= {"training_set.png", "ranked_test.png", "loss.png", "learning_rate.png", "validation.png"}
    assert not list((run / "checkpoints").iterdir())  # published
    assert list(run.rglob("events.out.tfevents.*"))
    assert yaml.safe_load((run / "config.yaml").read_text())["stage_one_objectives"] == {"sdm": 1.0, "id": 0.5}


def test_losses_and_scores_are_logged(finished):
    trainer, _ = finished
    records = read_metrics(trainer.run.metrics)
    trained = [record for record in records if record["split"] == "train"]
    assert [(record["stage"], record["step"]) for record in trained] == [
        (s, n) for s in ("one", "two") for n in range(1, 5)
    ]
    assert all(record["loss"] == pytest.approx(record["sdm"] + 0.5 * record["id"], rel=1e-5) for record in trained)
    validated = [(record["stage"], record["step"]) for record in records if record["split"] == "validation"]
    assert validated == [("one", 0), ("one", 2), ("one", 4), ("two", 0), ("two", 2), ("two", 4)]


def test_the_published_model_gives_the_reported_test_metrics(finished, splits):
    trainer, metrics = finished
    model, processor = load_model(str(trainer.run.path))
    again = TextToImageEvaluator(splits["test"], processor).by_direction(model)
    assert again["text_to_image"] == metrics["text_to_image"]
    entries = json.loads(trainer.run.results.read_text())
    tested = [entry for entry in entries if entry["split"] == "test"]
    assert [(entry["stage"], entry["method"], entry["direction"]) for entry in tested] == [
        ("two", "two-stage", "text_to_image"),
        ("two", "two-stage", "image_to_text"),
    ]
    assert tested[0]["metrics"] == metrics["text_to_image"].to_dict()


def test_test_figures_have_intervals_over_persons(finished):
    trainer, _ = finished
    for row in trainer.run.recorded():
        assert ("intervals" in row) == (row["split"] == "test")
        for name, (low, high) in row.get("intervals", {}).items():
            assert 0 <= low <= row["metrics"][name] <= high <= 100
    tested = [row for row in trainer.run.recorded() if row["split"] == "test"]
    assert len(tested) == 2
    low, high = tested[0]["intervals"]["mAP"]
    card = (trainer.run.path / "README.md").read_text()
    assert f"{tested[0]['metrics']['mAP']:.2f} ({low:.2f} to {high:.2f})" in card


def test_the_card_loads_what_it_describes_and_prints_what_was_measured(finished, monkeypatch):
    trainer, metrics = finished
    card = (trainer.run.path / "README.md").read_text()
    monkeypatch.chdir(trainer.run.path)
    names = {}
    exec(re.search(r"```python\n(.*?)```", card, flags=re.DOTALL).group(1), names)
    assert isinstance(names["model"], PromptCLIPModel)
    assert names["processor"].image_size == (96, 32)
    tested = metrics["text_to_image"].to_dict()
    assert f"| two-stage | test | text to image | {tested['R@1']:.2f} (" in card
    assert "R@1 on the validation split" in card
    assert "must not be used for" in card


def test_the_best_validation_step_was_kept(finished):
    trainer, _ = finished
    records = [record for record in read_metrics(trainer.run.metrics) if record["split"] == "validation"]
    entries = json.loads(trainer.run.results.read_text())
    for stage in ("one", "two"):
        scores = {record["step"]: record["R@1"] for record in records if record["stage"] == stage and record["step"]}
        kept = [entry for entry in entries if entry["stage"] == stage and entry["split"] == "validation"]
        assert [entry["step"] for entry in kept] == [max(scores, key=scores.get)]
        assert kept[0]["metrics"]["R@1"] == max(scores.values())


def test_the_adapter_holds_prompts_only_and_the_model_holds_them_fixed(finished, tiny_clip_folder):
    trainer, _ = finished
    adapter = load_file(trainer.run.adapter / "adapter_model.safetensors")
    model = AutoModel.from_pretrained(trainer.run.model)
    slots = {name: buffer for name, buffer in model.named_buffers() if name.endswith("prompt.weight")}
    assert len(adapter) == len(slots) == 6
    for name, prompts in adapter.items():
        assert torch.equal(
            slots[name.replace("base_model.model.", "").replace("clip_prompt_embeddings", "weight")], prompts
        )
    config = json.loads((trainer.run.adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_clip_folder)
    assert config["image_size"] == [96, 32]


def test_stage_one_changes_prompts_only_and_stage_two_everything_else(make_args, splits):
    trainer = TwoStageTrainer(make_args(), splits=splits)
    base = tensors(trainer.model)
    trainer.runner.log = trainer.run.create(trainer.args)
    trainer.stage_one()
    after_one = tensors(trainer.model)
    prompts = {name for name in after_one if name not in base}
    assert len(prompts) == 6
    assert all(torch.equal(after_one[name], base[name]) for name in base)
    trainer.stage_two()
    after_two = tensors(trainer.model)
    assert all(torch.equal(after_two[name], after_one[name]) for name in prompts)
    frozen = {name for name in base if torch.equal(after_two[name], base[name])}
    # logit_scale has no part in the losses; a key's bias shifts all logits of a query alike, so its gradient is zero
    assert {name for name in frozen if not name.endswith("k_proj.bias")} == {"logit_scale"}


def test_two_runs_with_one_seed_end_with_the_same_bytes(make_args, splits, tmp_path):
    def final(name, seed):
        settings = {"output_dir": str(tmp_path / name), "seed": seed, "stage_two_objectives": {"sdm": 1, "id": 1}}
        trainer = TwoStageTrainer(make_args(**settings), splits=splits)
        trainer.train()
        return tensors(trainer.model)

    first, second, other = final("a", 0), final("b", 0), final("c", 1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_direct_fine_tuning_has_no_prompts(make_args, splits):
    trainer = TwoStageTrainer(make_args(direct=True), splits=splits)
    trainer.train()
    assert not trainer.run.adapter.exists()
    model = PromptCLIPModel.from_pretrained(trainer.run.model)
    assert model.config.text_config.prompt_length == model.config.vision_config.prompt_length == 0
    assert {entry["method"] for entry in json.loads(trainer.run.results.read_text())} == {"zero-shot", "direct"}


def test_an_adapter_is_no_base_model(make_args, splits, tiny_adapter_folder):
    with pytest.raises(ValueError, match="is an adapter; give it to adapter, with stages two"):
        TwoStageTrainer(make_args(base_model=str(tiny_adapter_folder)), splits=splits)


def test_stage_two_from_a_saved_adapter_equals_the_run_of_both_stages(make_args, splits, tmp_path):
    both = TwoStageTrainer(make_args(output_dir=str(tmp_path / "both")), splits=splits)
    both.train()
    one = TwoStageTrainer(make_args(output_dir=str(tmp_path / "one"), stages=["one"]), splits=splits)
    one.train()
    assert not one.run.model.exists()
    settings = {"output_dir": str(tmp_path / "two"), "stages": ["two"], "adapter": str(one.run.adapter)}
    two = TwoStageTrainer(make_args(**settings), splits=splits)
    two.train()
    expected, found = tensors(both.model), tensors(two.model)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    methods = [entry["method"] for entry in json.loads(two.run.results.read_text())]
    assert methods == ["stage one", "stage one", "two-stage", "two-stage", "two-stage"]


def test_activations_start_and_accumulation_and_prompt_layers(make_args, splits):
    args = make_args(prompt_init="activations", gradient_accumulation_steps=2, prompt_layers=[0, 2], stages=["one"])
    trainer = TwoStageTrainer(args, splits=splits)
    trainer.train()
    assert trainer.model.config.vision_config.prompt_layers == [0, 2]
    assert trainer.model.vision_model.encoder.layers[1].prompt() is None
    assert trainer.model.vision_model.encoder.layers[2].prompt().norm(dim=-1).min() > 1  # hidden states, not N(0, .02)


def test_bf16_runs(make_args, splits):
    metrics = TwoStageTrainer(make_args(mixed_precision="bf16"), splits=splits).train()
    assert metrics["text_to_image"].queries == 12


def test_without_validation_and_test_the_last_weights_are_kept_and_it_is_said(make_args, splits, caplog):
    trainer = TwoStageTrainer(make_args(), splits={"train": splits["train"]})
    with caplog.at_level(logging.WARNING):
        assert trainer.train() == {}
    assert "no validation split" in caplog.text
    assert json.loads(trainer.run.results.read_text()) == []
    assert trainer.run.model.exists()
    assert "the last weights of each stage were kept" in (trainer.run.path / "README.md").read_text()


def test_no_test_leaves_the_test_split_alone(make_args, splits):
    trainer = TwoStageTrainer(make_args(no_test=True, direct=True), splits=splits)
    assert trainer.train() == {}
    assert {row["split"] for row in trainer.run.recorded()} == {"validation"}
    assert "Not measured: the test split" in (trainer.run.path / "README.md").read_text()
    assert not (trainer.run.plots / "ranked_test.png").exists()
    tested = TwoStageTrainer(make_args(direct=True, resume="auto"), splits=splits).train()
    assert tested["text_to_image"].queries == 12


def test_a_taken_run_folder_is_refused_unless_told_otherwise(make_args, splits):
    args = make_args(stages=["one"])
    args_again = make_args(stages=["one"], overwrite_output_dir=True)
    TwoStageTrainer(args, splits=splits).train()
    with pytest.raises(OSError, match="already holds a run .* set resume to auto .* overwrite_output_dir"):
        TwoStageTrainer(args, splits=splits)
    TwoStageTrainer(args_again, splits=splits).train()


def test_a_failure_midway_keeps_the_last_checkpoint_readable(make_args, splits, monkeypatch):
    trainer = TwoStageTrainer(make_args(stage_two_max_steps=20, eval_steps=2), splits=splits)
    evaluations = []

    def fail_later(model):
        evaluations.append(model)
        if len(evaluations) > 5:
            raise OSError("the disk went away")
        return TextToImageEvaluator(splits["validation"], trainer.processor).by_direction(model)

    monkeypatch.setattr(trainer.evaluation.validation, "by_direction", fail_later)
    with pytest.raises(OSError, match="disk went away"):
        trainer.train()
    assert trainer.run.adapter.exists()
    newest = trainer.store.newest()
    for folder in (newest.path / "weights", trainer.store.best("two", newest.facts["best_step"])):
        assert isinstance(AutoModel.from_pretrained(folder), PromptCLIPModel)
        assert PromptCLIPProcessor.from_pretrained(folder).image_size == (96, 32)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"prompt_layers": [0, 3]}, "names layer 3, but the text tower has layers 0 to 2"),
        ({"image_size": [100, 32]}, "height 100, which the patch size 16 does not divide"),
        ({"batch_size": 64}, "64 caption-image pairs, the training split has 24; lower batch_size"),
        ({"base_model": "no/such/folder"}, "no/such/folder"),
        ({"stages": ["two"], "adapter": "no/such/adapter"}, "no/such/adapter"),
    ],
)
def test_what_cannot_work_is_refused_before_training(make_args, splits, settings, message, tmp_path):
    with pytest.raises((ValueError, OSError), match=message):
        TwoStageTrainer(make_args(**settings), splits=splits)
    assert not (tmp_path / "run").exists()


def test_a_base_without_a_vision_tower_is_refused(make_args, splits, tmp_path, tiny_clip_folder):
    folder = tmp_path / "text_only"
    config = CLIPTextConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    CLIPTextModel(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_clip_folder).save_pretrained(folder)
    with pytest.raises(ValueError, match="vision"):
        TwoStageTrainer(make_args(base_model=str(folder)), splits=splits)


def test_a_data_set_without_training_rows_is_refused(make_args, splits):
    with pytest.raises(ValueError, match="no train split"):
        TwoStageTrainer(make_args(), splits={"test": splits["test"]})
