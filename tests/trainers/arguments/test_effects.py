"""A setting that was changed in vain is named in a warning."""

import pytest

from trainers.arguments.effects import settings_without_effect
from trainers.arguments.fields import rules
from trainers.arguments.resolved import resolve_settings
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.configs.recipes import read_recipe, recipe_names
from trainers.objectives import OBJECTIVES

IN_VAIN = [
    ({"num_instances": 7}, {"sampling": "identity"}),
    ({"shuffle_buffer": 7}, {"streaming": True}),
    ({"prompt_init_phrase": "a man"}, {"prompt_init": "activations"}),
    ({"stage_two_lora_alpha": 2.0}, {"stage_two_lora_rank": 2}),
    ({"label_smoothing": 0.3}, {"stage_two_objectives": "itc"}),
    ({"label_smoothing": 0.3}, {"stage_one_objectives": "id"}),
    ({"tal_margin": 0.5}, {"stage_one_objectives": "tal=1"}),
    ({"mlm_probability": 0.5}, {"stage_two_objectives": "sdm=1,mlm=1"}),
    ({"hub_strategy": "best"}, {"push_to_hub": True, "hub_model_id": "me/mine"}),
    ({"on_leak": "drop"}, {"also_train_on": ["rstp_reid=sets"]}),
    ({"micro_batch_size": 64}, {"batch_size": 128}),
    ({"head_lr_multiplier": 1.0}, {"stage_two_objectives": "id"}),
]


@pytest.mark.parametrize(("changed", "needed"), IN_VAIN)
def test_a_change_counts_only_with_what_it_needs(changed, needed, make_args, caplog):
    (name,) = changed
    (sentence,) = settings_without_effect(TwoStageTrainingArguments(**changed))
    assert sentence.startswith(f"{name} is {changed[name]!r} and has no effect")
    assert not list(settings_without_effect(TwoStageTrainingArguments(**changed, **needed)))
    resolve_settings(make_args(**changed), None, None)
    assert sentence in caplog.text


def test_a_loss_of_a_stage_that_does_not_run_does_not_count():
    settings = {"tal_margin": 0.5, "stage_one_objectives": "tal", "direct": True}
    assert "tal_margin is 0.5" in next(settings_without_effect(TwoStageTrainingArguments(**settings)))
    settings |= {"stage_two_objectives": {"sdm": 1.0, "tal": 0.0}}
    assert "tal_margin is 0.5" in next(settings_without_effect(TwoStageTrainingArguments(**settings)))


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_set_nothing_in_vain(name):
    assert not list(settings_without_effect(TwoStageTrainingArguments(**read_recipe(name))))


def test_options_of_a_loss_name_that_loss():
    args = TwoStageTrainingArguments()
    for loss, options in args.objective_options().items():
        names = {f"{loss}_{option}" for option in options} | set(options)
        found = {name for name, rule in rules(args).items() if name in names and loss in rule.losses}
        assert len(found) == len(options) and loss in OBJECTIVES


def test_epochs_give_way_to_steps_in_words():
    args = TwoStageTrainingArguments(stage_two_epochs=3.0, stage_two_max_steps=7)
    assert list(settings_without_effect(args)) == [
        "stage_two_epochs is 3.0 and has no effect: stage_two_max_steps 7 stands in its place"
    ]
