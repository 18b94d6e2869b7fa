"""transformers' names of settings mean the same from Python, from recipes and on the command line."""

import pickle
from dataclasses import asdict, replace

import pytest
import yaml

from trainers.arguments.aliases import known_names
from trainers.arguments.fields import rules
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.configs.recipes import parse_arguments

ONE = {"stages": ["one"]}
SAME = [  # transformers' settings, and ours
    ({"per_device_train_batch_size": 8}, {"batch_size": 8}),
    ({"per_device_eval_batch_size": 8}, {"eval_batch_size": 8}),
    ({"logging_steps": 3}, {"log_steps": 3}),
    ({"dataloader_num_workers": 0}, {"num_workers": 0}),
    ({"bf16": True}, {"mixed_precision": "bf16"}),
    ({"fp16": True}, {"mixed_precision": "fp16"}),
    ({"bf16": False, "fp16": True}, {"mixed_precision": "fp16"}),
    ({"bf16": False}, {"mixed_precision": "no"}),
    ({"optim": "adamw_torch"}, {"optimizer": "adamw"}),
    ({"optim": "adam"}, {"optimizer": "adam"}),
    ({"torch_compile": True}, {"compile": True}),
    ({"resume_from_checkpoint": True}, {"resume": "auto"}),
    ({"resume_from_checkpoint": False}, {"resume": "no"}),
    ({"learning_rate": 0.1} | ONE, {"stage_one_learning_rate": 0.1} | ONE),
    ({"learning_rate": 0.1, "direct": True}, {"stage_two_learning_rate": 0.1, "direct": True}),
    ({"num_train_epochs": 2} | ONE, {"stage_one_epochs": 2} | ONE),
    ({"max_steps": 7} | ONE, {"stage_one_max_steps": 7} | ONE),
    ({"weight_decay": 0.2} | ONE, {"stage_one_weight_decay": 0.2} | ONE),
    ({"warmup_ratio": 0.2, "direct": True}, {"stage_two_warmup_ratio": 0.2, "direct": True}),
    ({"per_device_train_batch_size": 8, "batch_size": 8}, {"batch_size": 8}),
    ({"bf16": False, "mixed_precision": "fp16"}, {"mixed_precision": "fp16"}),
]


def options(values):
    lists = {name: value if isinstance(value, list) else [value] for name, value in values.items()}
    return [text for name, value in lists.items() for text in (f"--{name}", *map(str, value))]


@pytest.mark.parametrize(("theirs", "ours"), SAME)
def test_both_names_mean_the_same_everywhere(theirs, ours, tmp_path):
    expected = TwoStageTrainingArguments(**ours)
    assert TwoStageTrainingArguments(**theirs) == expected
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(theirs))
    assert parse_arguments(["--config", str(recipe)]) == expected
    recipe.write_text("seed: 0\n")
    assert parse_arguments(["--config", str(recipe), *options(theirs)]) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"per_device_train_batch_size": 8, "batch_size": 9},
            "batch_size is 9 and per_device_train_batch_size is 8, but both set batch_size",
        ),
        ({"bf16": True, "fp16": True}, "bf16 is True and fp16 is True, but both set mixed_precision"),
        ({"bf16": False, "mixed_precision": "bf16"}, "mixed_precision is 'bf16' and bf16 is False"),
        (
            {"learning_rate": 0.1, "stage_one_learning_rate": 0.2} | ONE,
            "learning_rate is 0.2 and learning_rate is 0.1",
        ),
        ({"learning_rate": 0.1}, "set stage_one_learning_rate and stage_two_learning_rate"),
        ({"optim": "sgd"}, "optim is 'sgd'.*optimizer.*adamw_torch, adamw, adam"),
    ],
)
def test_what_contradicts_is_refused_by_both_names(values, message, tmp_path, capsys):
    with pytest.raises(ValueError, match=message):
        TwoStageTrainingArguments(**values)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match=f"config '{recipe}': .*{message}"):
        parse_arguments(["--config", str(recipe)])
    recipe.write_text("seed: 0\n")
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(["--config", str(recipe), *options(values)])
    assert " is " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("per_device_train_batch_size", 8.5),
        ("per_device_train_batch_size", None),
        ("logging_steps", 0),
        ("torch_compile", "yes"),
        ("bf16", "x"),
        ("bf16", [1]),
        ("resume_from_checkpoint", "runs/x"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_that_was_used(name, value):
    with pytest.raises(ValueError, match=rf"^{name} is "):
        TwoStageTrainingArguments(**{name: value})


def test_the_command_line_wins_over_a_recipe_by_either_name(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("per_device_train_batch_size: 16\nbf16: true\nlearning_rate: 0.1\nstages: [one]\n")
    args = parse_arguments(["--config", str(recipe), "--batch_size", "4", "--bf16", "false"])
    assert (args.batch_size, args.mixed_precision, args.stage_one_learning_rate) == (4, "no", 0.1)
    args = parse_arguments(["--config", str(recipe), "--direct", "--fp16"])
    assert (args.mixed_precision, args.stage_two_learning_rate) == ("fp16", 0.1)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(TypeError, match="is not a setting. Did you mean 'per_device_train_batch_size'"):
        TwoStageTrainingArguments(per_device_train_batchsize=8)
    with pytest.raises(TypeError, match="'batchsize' is not a setting. Did you mean 'batch_size'"):
        TwoStageTrainingArguments(batchsize=8)


def test_settings_stay_a_dataclass_of_our_names():
    args = TwoStageTrainingArguments(per_device_train_batch_size=8)
    assert replace(args, seed=3).batch_size == 8
    assert pickle.loads(pickle.dumps(args)) == args == TwoStageTrainingArguments(**asdict(args))
    assert asdict(args).keys() == rules(TwoStageTrainingArguments).keys()


def test_docstring_and_help_name_every_alias(capsys):
    aliases = known_names(TwoStageTrainingArguments) - rules(TwoStageTrainingArguments).keys()
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    text = capsys.readouterr().out
    assert len(aliases) == 14
    assert all(f"`{name}`" in TwoStageTrainingArguments.__doc__ and f"--{name}" in text for name in aliases)
