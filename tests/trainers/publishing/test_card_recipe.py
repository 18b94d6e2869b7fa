"""The recipe in words: what is set is told, what is off is not."""

import pytest

from trainers.publishing.card_recipe import recipe_points
from trainers.run_folder.results import StageResult

STAGES = {"one": StageResult(3, 2, {}, 0, 4.4), "two": StageResult(9, 9, {}, 1, 5.6)}


def test_the_recipe_of_the_defaults(make_args):
    points = recipe_points(make_args(), STAGES)
    assert [point.split()[0] for point in points] == [
        "Prompts",
        "Stage",
        "Stage",
        "Losses:",
        "Steps:",
        "Augmentation:",
    ]
    assert "3 steps in 4 s, step 2 kept." in points[1] and "after a warm-up from 0.1 of it over 10 % of" in points[1]
    assert "9 steps, 1 of them skipped as not finite in 6 s, step 9 kept" in points[2]
    assert points[3] == "Losses: sdm with temperature 0.02, same person weight 1."
    assert "batches of 4 pairs, shuffled; adamw" in points[4] and "float32; seed 0" in points[4]
    assert points[5].endswith("captions as they are.") and "mirrored with probability 0.5" in points[5]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"prompt_init": "activations"}, "start from activations (of 'a photo of a person'"),
        ({"coupled_prompts": True}, "a learned projection of those of text"),
        ({"stages": ["two"], "adapter": "a"}, "Prompts are those of an earlier run."),
        ({"stage_two_lora_rank": 2}, "low-rank updates (LoRA, rank 2) that are merged now, alpha 16"),
        ({"stage_one_objectives": "sdm=1,itc=0.5"}, "loss sdm + 0.5 x itc; "),
        ({"stage_one_objectives": "tal=1"}, "tal with temperature 0.015, margin 0.1"),
        ({"learn_temperature": True}, "temperatures are learned from these on"),
        ({"sampling": "identity", "num_instances": 2}, "batches of 4 pairs, 2 of each person in them;"),
        ({"sampling": "length"}, "their captions of about one length;"),
        ({"gradient_accumulation_steps": 2}, "batches of 4 pairs, 2 batches a step"),
        ({"max_grad_norm": 0.0}, "gradients not clipped"),
        ({"mixed_precision": "bf16"}, "bf16 mixed precision"),
        ({"ema_decay": 0.9}, "a moving average of the weights, decay 0.9"),
        ({"layer_lr_decay": 0.7}, "each layer learns at 0.7"),
        ({"dataset_options": {"validation_share": 0.1}}, "Options of the data set: validation_share 0.1."),
        (
            {"dataset_options": {"annotations": "/home/alice/notes.json"}},
            "Options of the data set: annotations notes.json.",
        ),
        ({"bias_lr_multiplier": 2.0}, "Biases learn at 2 times the rate."),
        ({"stage_two_objectives": "sdm=1,id=0.5"}, "Loss heads learn at 5 times the rate."),
        ({"stage_two_objectives": "mlm=1"}, "For mlm, a word is masked with probability 0.15."),
        ({"clean_captions": False}, "Captions were not cleaned."),
        ({"streaming": True, "shuffle_buffer": 2000}, "shuffled in a buffer of 2,000;"),
        ({"augment_text": {"mask": 0.1}}, "captions mask 0.1."),
        ({"augment_color_jitter": 0.2}, "colours jittered by 0.2"),
        ({"augment_flip": 0.0, "augment_pad": 0, "augment_erase": 0.0}, "images as they are;"),
    ],
)
def test_what_differs_is_told(make_args, settings, told):
    assert told not in "\n".join(recipe_points(make_args(), STAGES))
    assert told in "\n".join(recipe_points(make_args(**settings), STAGES))


def test_direct_fine_tuning_has_no_prompts(make_args):
    points = recipe_points(make_args(direct=True), {"two": STAGES["two"]})
    assert points[0].startswith("Stage two: CLIP, without new prompts (direct fine-tuning)")


def test_several_processes(make_args):
    assert "batches of 12 pairs (4 on each of 3 processes)" in recipe_points(make_args(), STAGES, processes=3)[4]
