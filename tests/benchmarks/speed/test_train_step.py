"""The benchmark of training steps: the reference computes what CLIP computes, and the script runs."""

import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed import reference_step, speed_ups, train_step
from benchmarks.speed import step_cases as cases
from modeling_prompt_clip import PromptCLIPModel

LENGTH = 9


def config(prompts):
    return cases.model_config(tiny=True, prompts=prompts)


@pytest.fixture
def inputs():
    """Two images and two captions, the second of which ends earlier and is padded as the reference pads."""
    torch.manual_seed(3)
    ids = torch.randint(1, 998, (2, LENGTH))
    ids[0, -1] = ids[1, 5] = 999
    ids[1, 6:] = 0
    return torch.randn(2, 3, 64, 32), ids


def same_weights(ours, reference):
    """Copy our weights into the reference; prompts aside, both have the same ones."""
    weights = {name: value for name, value in ours.state_dict().items() if ".prompt." not in name}
    weights.pop("logit_scale")
    missing, unexpected = reference.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all("_prompts." in name for name in missing)


def test_without_prompts_the_reference_is_clip(inputs):
    torch.manual_seed(0)
    ours, reference = PromptCLIPModel(config(0)).eval(), reference_step.ReferenceClip(config(0), prompts=0)
    same_weights(ours, reference)
    images, ids = inputs
    with torch.no_grad():
        expected, (image, text) = ours(input_ids=ids, pixel_values=images), reference(images, ids)
    torch.testing.assert_close(image, expected.image_embeds, rtol=0, atol=1e-6)
    torch.testing.assert_close(text, expected.text_embeds, rtol=0, atol=1e-6)


def test_the_reference_concatenates_what_ours_attends_to(inputs):
    torch.manual_seed(0)
    ours, reference = PromptCLIPModel(config(4)).eval(), reference_step.ReferenceClip(config(0), prompts=4)
    same_weights(ours, reference)
    with torch.no_grad():
        for layer, prompts in zip(ours.vision_model.encoder.layers, reference.vision_prompts, strict=True):
            layer.prompt.set_prompts(50 * prompts)
            prompts.mul_(50)
        plain = PromptCLIPModel(config(0)).get_image_features(inputs[0]).pooler_output
        expected = ours.get_image_features(inputs[0]).pooler_output
        image = reference.visual_projection(reference.vision_model(inputs[0], reference.vision_prompts))
    torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(image, plain, atol=1e-2)


@pytest.mark.parametrize(("stage", "frozen"), [("one", False), ("one", True), ("two", False)])
def test_the_reference_has_the_fields_faults_and_no_others(inputs, stage, frozen):
    settings = cases.Settings(batch_size=2, device="cpu", threads=1, steps=1, tiny=True)
    batch = cases.batches_of(cases.Case("reference", stage, "float32"), settings)[0]
    assert batch["input_ids"].shape == (2, reference_step.CONTEXT - cases.PROMPTS)
    model = reference_step.ReferenceClip(config(0), prompts=4)
    objective = cases.CombinedObjective({"sdm": 1.0})
    step = reference_step.ReferenceStep(model, objective, stage, frozen=frozen, bf16=False)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    assert step(batch) > 0
    for name, value in model.named_parameters():
        is_prompt = "_prompts." in name
        trained = is_prompt == (stage == "one")
        assert torch.equal(value, before[name]) != trained, name
        assert (value.grad is not None) == (trained or (stage == "one" and not frozen)), name
    assert all(len(group["params"]) == 1 for group in step.optimizer.param_groups)


def test_operations_are_counted_as_torch_counts_them(inputs):
    model = reference_step.ReferenceClip(config(0), prompts=0)
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    vision, text = config(0).vision_config, config(0).text_config
    projections = 2 * config(0).projection_dim * (vision.hidden_size + text.hidden_size)
    assert counter.get_total_flops() == 2 * (cases.forward_flops(config(0), LENGTH) + projections)


def test_it_runs(monkeypatch, capsys):
    command = ["train_step", "--tiny"]
    monkeypatch.setattr(sys, "argv", [*command, "--quick", "--stage", "two", "--dtype", "float32"])
    train_step.main()
    head, _, ours, reference = (line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines())
    assert head[:3] == ["stage", "step", "precision"]
    assert ours[:3] == ["two", "ours", "float32"] and reference[:3] == ["two", "reference", "float32"]
    assert float(reference[5]) > 0 and int(ours[4]) > 100
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="2"):
        train_step.main()
    assert "add --quick" in capsys.readouterr().err


def test_what_each_speed_up_brings_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["speed_ups", "--tiny", "--rounds", "1"])
    speed_ups.main()
    printed = capsys.readouterr().out
    table = printed[printed.index("| |") :].splitlines()
    assert table[0] == "| | stage one, float32 | stage one, bf16 | stage two, float32 | stage two, bf16 |"
    rows = {cells[1].strip(): cells[2:-1] for cells in (line.split("|") for line in table[2:])}
    assert [bool(cell.strip()) for cell in rows["frozen weights cast at each use"]] == [False, True, False, False]
    assert all(float(cell) > 0 for cell in rows["QuickGELU written out"])
