import math
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest
import yaml

from trainers.arguments.fields import rules
from trainers.arguments.parsing import parse_objectives
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.configs.recipes import parse_arguments


@pytest.mark.parametrize(
    "field, value, rule",
    [
        ("batch_size", 1, "at least 2"),
        ("batch_size", "8", "must be a whole number"),
        ("batch_size", True, "must be a whole number"),
        ("stage_one_learning_rate", 0.0, "above 0"),
        ("stage_two_learning_rate", math.nan, "above 0"),
        ("adam_beta2", 1.0, "below 1"),
        ("augment_flip", 1.5, "at most 1"),
        ("stage_two_max_steps", 0, "at least 1 step"),
        ("text_prompt_length", -1, "at least 0"),
        ("mixed_precision", "fp8", "one of no, bf16, fp16"),
        ("optimizer", "sgd", "one of adamw, adam"),
        ("prompt_init", "zeros", "one of normal, activations"),
        ("image_size", [384], "height and width"),
        ("image_size", [384, 0], "height and width"),
        ("stages", ["two", "one"], "'one two', 'one' or 'two'"),
        ("stages", ["two"], "adapter"),
        ("adapter", "runs/x/adapter", "--stages two"),
        ("dataset_options", "{", "JSON"),
        ("stage_one_objectives", {"sdn": 1.0}, "sdm"),
        ("stage_one_objectives", {"sdm": -1.0}, "from 0 to 1e+06"),
        ("stage_one_objectives", {"sdm": 0.0}, "above 0"),
        ("stage_two_objectives", "sdm=x", "must be a number"),
        ("augment_text", {"delete": 0.1}, "takes deletion, mask"),
        ("augment_text", "deletion=1.5", "from 0 to 1"),
        ("augment_text", "mask", "must be a number"),
        ("on_bad_image", "ignore", "one of error, skip"),
        ("on_leak", "skip", "one of error, drop, allow"),
        ("also_train_on", "icfg_pedes=D", "must be a list"),
        ("shuffle_buffer", 0, "at least 1"),
    ],
)
def test_a_bad_value_is_refused_by_name_with_the_rule(field, value, rule):
    with pytest.raises(ValueError, match=field) as error:
        TwoStageTrainingArguments(**{field: value})
    assert rule in str(error.value)


CONTROL = "\x1b[31mred"
OF_OTHER_TYPES = {
    int: (8.5, 4.0, "4", None, [4], True, math.nan, {}, -(10**9), 10**30, 10**400, CONTROL),
    float: ("0.1", None, [0.1], True, {}, math.inf, -math.inf, math.nan, -1e9, 1e300, 10**400, CONTROL),
    bool: ("no", 0, 1, None, [], "true", math.nan, CONTROL),
    str: (1, None, ["x"], True, 0.5, {}, math.nan, "x" * 10_000),
    list: ("x", 1, None, {"x": 1}, [None], [["x"]], math.nan, CONTROL),
    dict: (
        1,
        None,
        ["x"],
        True,
        "{",
        {"x": None},
        {"x": True},
        {CONTROL: 1.0},
        {"sdm": 1e300},
        "[" * 20_000,
        math.nan,
    ),
}


def wrong_values():
    types = get_type_hints(TwoStageTrainingArguments)
    for each in fields(TwoStageTrainingArguments):
        parts = [part for part in get_args(types[each.name]) if part is not type(None)]
        may_be_left_out = type(None) in get_args(types[each.name])
        kind = parts[0] if may_be_left_out else types[each.name]
        for value in OF_OTHER_TYPES[get_origin(kind) or kind]:
            anything = each.name == "dataset_options" and isinstance(value, dict)
            if not (may_be_left_out and value is None) and not anything:
                yield each.name, value


@pytest.mark.parametrize(("name", "value"), wrong_values())
def test_a_value_of_another_type_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"^{name} ") as error:
        TwoStageTrainingArguments(**{name: value})
    assert len(str(error.value)) < 800 and str(error.value).isprintable()


def test_the_table_of_wrong_values_has_every_setting():
    assert {name for name, _ in wrong_values()} == {each.name for each in fields(TwoStageTrainingArguments)}


@pytest.mark.parametrize(("name", "value"), dict(wrong_values()).items())  # the last of each setting
def test_a_recipe_with_a_value_of_another_type_is_refused_by_name(name, value, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump({name: value}))
    with pytest.raises(ValueError, match=rf"^{name} "):
        parse_arguments(["--config", str(recipe)])


@pytest.mark.slow
@pytest.mark.parametrize("name", dict(wrong_values()))
def test_every_wrong_value_in_a_recipe_is_refused_by_name(name, tmp_path):
    recipe = tmp_path / "mine.yaml"
    for value in [value for setting, value in wrong_values() if setting == name]:
        recipe.write_text(yaml.safe_dump({name: value}))
        with pytest.raises(ValueError, match=name):
            parse_arguments(["--config", str(recipe)])


TYPED = ("null", "nan", "1e999", "9" * 5000, CONTROL, "", "[1]", "{}", "-7.5")


@pytest.mark.slow
@pytest.mark.parametrize("name", dict(wrong_values()))
def test_what_is_typed_is_taken_or_refused_by_name(name, capsys):
    kind = get_type_hints(TwoStageTrainingArguments)[name]
    for text in TYPED:
        try:
            parse_arguments(["--base_model", "stand-in", f"--{name}={text}"])
        except SystemExit:
            assert f"argument --{name}" in capsys.readouterr().err
        except ValueError as error:
            assert name in str(error)
        else:
            assert kind not in (int, float, bool)


@pytest.mark.parametrize(
    "name", [name for name, kind in get_type_hints(TwoStageTrainingArguments).items() if kind in (int, float)]
)
def test_every_number_has_limits(name):
    rule = rules(TwoStageTrainingArguments)[name]
    assert math.isfinite(min(rule.high, rule.below)) and math.isfinite(max(rule.low, rule.above))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("batch_size: 8.5", "batch_size is 8.5; it must be a whole number"),
        ("batch_size: '8'", "batch_size is '8'; it must be a whole number"),
        ("seed: -1", "seed is -1; it must be at least 0"),
        ("streaming: 'no'", "streaming is 'no'; it must be true or false"),
        ("stages: one", "stages is 'one'; it must be a list"),
        ("image_size: 384", "image_size is 384; it must be a list"),
        ("stage_two_learning_rate: 1e999", "stage_two_learning_rate is inf; it must be above 0"),
        ("stage_two_learning_rate: -1e-5", "stage_two_learning_rate is -1e-05; it must be above 0"),
        ("max_grad_norm: .nan", "max_grad_norm is nan; it must be at least 0"),
        ("num_workers:", "num_workers is None; it must be a whole number"),
    ],
)
def test_wrong_lines_of_a_recipe(line, message, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(line)
    with pytest.raises(ValueError, match=message):
        parse_arguments(["--config", str(recipe)])


NOT_TEXT = [name for name, kind in get_type_hints(TwoStageTrainingArguments).items() if kind in (int, float, bool)]


@pytest.mark.parametrize("name", NOT_TEXT)
def test_an_option_of_another_type_is_refused_by_name(name, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_arguments([f"--{name}", "1,5"])
    assert f"argument --{name}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["text_prompt_length", "num_workers", "stage_two_lora_rank", "mlm_layers", "seed"])
def test_sizes_that_no_machine_has_are_refused(name):
    with pytest.raises(ValueError, match=rf"^{name} is 10000000000; it must be at least 0 and at most \d+$"):
        TwoStageTrainingArguments(**{name: 10_000_000_000})


def test_what_means_the_same_is_taken():
    args = TwoStageTrainingArguments(
        image_size=(96, 32), data_dir=Path("sets") / "a", mixed_precision=False, resume=False, max_grad_norm=1
    )
    assert (args.image_size, args.data_dir, args.mixed_precision, args.resume) == ([96, 32], "sets/a", "no", "no")


def test_no_prompts_at_all_are_refused_unless_direct():
    with pytest.raises(ValueError, match="set direct"):
        TwoStageTrainingArguments(text_prompt_length=0, vision_prompt_length=0)
    args = TwoStageTrainingArguments(text_prompt_length=0, vision_prompt_length=0, direct=True)
    assert args.stages == ["two"]


def test_direct_and_an_adapter_contradict():
    with pytest.raises(ValueError, match="direct is set and so is adapter"):
        TwoStageTrainingArguments(direct=True, adapter="runs/x/adapter")


@pytest.mark.parametrize("value", ["sdm=1,id=0.5", "sdm, id=.5", '{"sdm": 1, "id": 0.5}', {"sdm": 1, "id": 0.5}])
def test_objectives_are_read_in_every_form(value):
    assert parse_objectives("stage_one_objectives", value) == {"sdm": 1.0, "id": 0.5}


@pytest.mark.parametrize("value", ["deletion=0.05,mask=0.1", '{"deletion": 0.05, "mask": 0.1}'])
def test_text_augmentations_are_read_in_every_form(value):
    assert TwoStageTrainingArguments(augment_text=value).augment_text == {"deletion": 0.05, "mask": 0.1}
    assert TwoStageTrainingArguments(augment_text="").augment_text == {}


def test_a_stream_cannot_be_joined():
    with pytest.raises(ValueError, match="streaming is set and so is also_train_on.*leave streaming out"):
        TwoStageTrainingArguments(dataset="parquet", streaming=True, also_train_on=["synthetic_pedes"])


@pytest.mark.parametrize("sampling", ["identity", "length"])
def test_a_stream_can_only_be_shuffled(sampling):
    with pytest.raises(ValueError, match=f"streaming is set and sampling is '{sampling}'.* leave one out"):
        TwoStageTrainingArguments(dataset="parquet", streaming=True, sampling=sampling)


@pytest.mark.parametrize(
    "epochs, max_steps, per_epoch, steps",
    [
        (2.0, -1, 10, 20),
        (0.25, -1, 10, 3),
        (0.07, -1, 100, 7),
        (2.0, 7, 10, 7),
        (0.01, -1, 5, 1),
        (3, -1, Fraction(24, 10), 8),
        (5.0, -1, Fraction(24, 10), 12),
        (1e-05, -1, Fraction(100_000), 1),
    ],
)
def test_steps_of_a_stage(epochs, max_steps, per_epoch, steps):
    args = TwoStageTrainingArguments(stage_one_epochs=epochs, stage_one_max_steps=max_steps)
    assert args.stage("one").total_steps(per_epoch) == steps


def test_each_stage_has_its_own_settings():
    args = TwoStageTrainingArguments(stage_one_learning_rate=1e-2, stage_two_learning_rate=1e-4)
    assert args.stage("one").learning_rate == 1e-2
    assert args.stage("two").learning_rate == 1e-4
