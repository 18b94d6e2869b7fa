import json
from collections import Counter

import pytest
from transformers import EarlyStoppingCallback, TrainerCallback

from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor
from resuming import DieAfter, Killed
from trainers import TwoStageTrainer
from trainers.run_folder.metrics_log import read_metrics
from trainers.stages.callbacks import checked_callbacks, completes
from trainers.stages.loop import StageLoop

EVENTS = [
    "on_train_begin",
    "on_epoch_begin",
    "on_step_begin",
    "on_step_end",
    "on_log",
    "on_evaluate",
    "on_save",
    "on_epoch_end",
    "on_train_end",
]


class Counts(TrainerCallback):
    """Counts its events, and keeps what it was told at each."""

    def __init__(self):
        self.counts = Counter()
        self.told = []

    def __getattribute__(self, name):
        return self.count(name) if name in EVENTS else super().__getattribute__(name)

    def count(self, event):
        def note(args, state, control, **told):
            self.counts[event, args.current_stage] += 1
            self.told.append((event, args, state.global_step, state.epoch, state.max_steps, told))

        return note


class Asks(TrainerCallback):
    """Sets switches of the control after one step of one stage."""

    def __init__(self, step, stage="one", event="on_step_end", **switches):
        self.step, self.stage, self.switches = step, stage, switches
        setattr(self, event, self.ask)

    def ask(self, args, state, control, **told):
        if (args.current_stage, state.global_step) == (self.stage, self.step):
            for name, value in self.switches.items():
                setattr(control, name, value)


def test_every_event_is_counted(make_args, splits):
    counts = Counts()
    args = make_args(stage_one_max_steps=7, stage_two_max_steps=3, eval_steps=2, log_steps=3, save_steps=5)
    trainer = TwoStageTrainer(args, splits=splits, callbacks=[counts])
    assert trainer.pairs.batches_per_epoch(4) == 6
    trainer.train()
    assert {event: counts.counts[event, "one"] for event in EVENTS} == {
        "on_train_begin": 1,
        "on_epoch_begin": 2,  # steps 1 and 7
        "on_step_begin": 7,
        "on_step_end": 7,
        "on_log": 3 + 4,  # losses at 3, 6 and 7; metrics
        "on_evaluate": 4,  # 2, 4, 6 and 7
        "on_save": 1,  # 5
        "on_epoch_end": 2,
        "on_train_end": 1,
    }
    assert (counts.counts["on_step_end", "two"], counts.counts["on_save", "two"]) == (3, 0)
    assert (counts.counts["on_epoch_begin", "two"], counts.counts["on_epoch_end", "two"]) == (1, 1)


def test_a_callback_is_told_what_transformers_tells(make_args, splits):
    counts = Counts()
    trainer = TwoStageTrainer(make_args(stages=["one"]), splits=splits, callbacks=[counts])
    trainer.train()
    told = {event: (args, step, epoch, total, told) for event, args, step, epoch, total, told in counts.told}
    args, step, epoch, total, others = told["on_evaluate"]
    assert (step, epoch, total) == (3, 0.5, 3)
    validated = [record for record in read_metrics(trainer.run.metrics) if record["split"] == "validation"]
    assert others["metrics"]["eval_text_to_image_R@1"] == validated[-1]["R@1"]
    assert others["model"].peft_config and others["processing_class"] is trainer.processor
    assert others["optimizer"].param_groups and others["lr_scheduler"].get_last_lr()
    assert len(others["train_dataloader"]) == 3
    assert (args.output_dir, args.logging_steps, args.learning_rate) == (trainer.args.output_dir, 1, 3e-3)
    logs = [others["logs"] for event, *_, others in counts.told if event == "on_log"]
    trained = [record for record in read_metrics(trainer.run.metrics) if record["split"] == "train"]
    assert [log["loss"] for log in logs if "loss" in log] == [record["loss"] for record in trained]


def validated_by(scores, monkeypatch):
    """Lets every loop's validation be these scores, one after the other."""
    make = StageLoop.__init__

    def scored(loop, *args, **options):
        left = iter(scores)
        evaluate = options["evaluate"]
        make(loop, *args, **options | {"evaluate": lambda: {**evaluate(), "R@1": next(left)}})

    monkeypatch.setattr(StageLoop, "__init__", scored)


def test_early_stopping_of_transformers_ends_each_stage_by_itself(make_args, splits, monkeypatch):
    validated_by([40.0, 50.0, 50.0, 45.0, 60.0, 60.0], monkeypatch)
    args = make_args(stage_one_max_steps=6, stage_two_max_steps=6, eval_steps=1, log_steps=10)
    trainer = TwoStageTrainer(args, splits=splits, callbacks=[EarlyStoppingCallback(2)])
    trainer.train()
    ended = json.loads(trainer.run.progress.read_text())
    for stage in ("one", "two"):
        assert (ended[stage]["steps"], ended[stage]["best_step"]) == (4, 2)
    trained = [(r["stage"], r["step"]) for r in read_metrics(trainer.run.metrics) if r["split"] == "train"]
    assert trained == [("one", 4), ("two", 4)]  # the losses so far are not lost


@pytest.mark.parametrize("validated", [True, False])
def test_a_stop_ends_its_stage_with_an_evaluation_and_the_next_is_run(make_args, splits, validated):
    data = splits if validated else {"train": splits["train"]}
    args = make_args(stage_one_max_steps=6, eval_steps=6, log_steps=6)
    trainer = TwoStageTrainer(args, splits=data, callbacks=[Asks(2, should_training_stop=True)])
    trainer.train()
    ended = json.loads(trainer.run.progress.read_text())
    assert [(ended[stage]["steps"], ended[stage]["best_step"]) for stage in ("one", "two")] == [(2, 2), (3, 3)]


def test_logs_evaluations_and_checkpoints_are_had_for_the_asking(make_args, splits):
    counts = Counts()
    asks = Asks(2, should_log=True, should_evaluate=True, should_save=True)
    args = make_args(stages=["one"], stage_one_max_steps=4, eval_steps=4, log_steps=4)
    trainer = TwoStageTrainer(args, splits=splits, callbacks=[asks, counts])
    trainer.train()
    records = [(r["split"], r["step"]) for r in read_metrics(trainer.run.metrics) if r["step"]]
    assert records == [("train", 2), ("validation", 2), ("train", 4), ("validation", 4)]
    assert [step for event, _, step, *_ in counts.told if event == "on_save"] == [2]


def test_a_checkpoint_asked_for_in_an_evaluation_is_saved_after_that_step(make_args, splits):
    counts = Counts()
    asks = Asks(2, event="on_evaluate", should_save=True)
    args = make_args(stages=["one"], stage_one_max_steps=6, eval_steps=2, save_steps=5)
    TwoStageTrainer(args, splits=splits, callbacks=[asks, counts]).train()
    assert [step for event, _, step, *_ in counts.told if event == "on_save"] == [2, 5]


def test_a_run_that_goes_on_remembers_the_patience_of_its_callbacks(make_args, splits, monkeypatch, tmp_path):
    scores = [40.0, 50.0, 50.0, 45.0, 60.0, 60.0]
    args = make_args(stages=["one"], stage_one_max_steps=6, eval_steps=1, save_steps=1, resume="auto")
    counts = Counts()
    with monkeypatch.context() as patch:
        validated_by(scores, patch)
        with pytest.raises(Killed):
            TwoStageTrainer(args, splits=splits, callbacks=[EarlyStoppingCallback(2), DieAfter(3)]).train()
    with monkeypatch.context() as patch:
        validated_by(scores[3:], patch)
        trainer = TwoStageTrainer(args, splits=splits, callbacks=[counts, EarlyStoppingCallback(2)])
        trainer.train()
    ended = json.loads(trainer.run.progress.read_text())["one"]
    assert (ended["steps"], ended["best_step"]) == (4, 2)
    event, _, step, *_ = counts.told[0]
    assert (event, step) == ("on_train_begin", 3)


def test_a_callback_whose_state_is_no_json_is_named(make_args, splits):
    class Odd(EarlyStoppingCallback):
        def state(self):
            return {"attributes": {"patience": object()}}

    with pytest.raises(TypeError, match=r"state\(\) of a callback \(Odd\) is no JSON"):
        TwoStageTrainer(make_args(eval_steps=1), splits=splits, callbacks=[Odd()]).train()


@pytest.mark.parametrize("wrong", [print, "wandb", object()])
def test_what_is_no_callback_is_refused(wrong):
    with pytest.raises(TypeError, match="is no transformers.TrainerCallback"):
        checked_callbacks([EarlyStoppingCallback, wrong])


def test_callbacks_are_added_as_classes_too(make_args, splits):
    trainer = TwoStageTrainer(make_args(), splits=splits, callbacks=[Counts])
    trainer.add_callback(EarlyStoppingCallback)
    assert [type(each) for each in trainer.runner.callbacks] == [Counts, EarlyStoppingCallback]


@pytest.mark.parametrize("step, every, done", [(1, 1, True), (1, 2, False), (2, 2, True), (3, 2, False)])
def test_completed_periods(step, every, done):
    assert completes(step, every) == done


def test_the_arguments_of_transformers_train_as_today_s_form(make_args, splits, tiny_folder, tmp_path):
    settings = {"stages": ["one"], "base_model": str(tiny_folder)}
    ours = TwoStageTrainer(make_args(output_dir=str(tmp_path / "ours"), **settings), splits=splits)
    theirs = TwoStageTrainer(
        model=PromptCLIPModel.from_pretrained(tiny_folder),
        args=make_args(output_dir=str(tmp_path / "theirs"), **settings),
        train_dataset=splits["train"],
        eval_dataset=splits["validation"],
        test_dataset=splits["test"],
        processing_class=PromptCLIPProcessor.from_pretrained(tiny_folder),
    )
    assert theirs.train() == ours.train()
    validation = theirs.evaluate()
    assert validation.keys() == {f"eval_{name}" for name in theirs.evaluation.validation(theirs.model)}
    tested = theirs.evaluate(splits["test"], metric_key_prefix="test")
    assert (
        tested["test_text_to_image_mAP"]
        == ours.evaluation.test(ours.model, "one", 3)["text_to_image"].mean_average_precision
    )
    theirs.save_model(tmp_path / "saved")
    again = TwoStageTrainer(
        make_args(output_dir=str(tmp_path / "again"), direct=True),
        model=PromptCLIPModel.from_pretrained(tmp_path / "saved"),
        processor=PromptCLIPProcessor.from_pretrained(tmp_path / "saved"),
        splits=splits,
    )
    assert again.evaluate() == validation
    with pytest.raises(OSError, match="saved exists; name a folder that does not"):
        theirs.save_model(tmp_path / "saved")
    with pytest.raises(OSError, match="model is written by stage two; pass output_dir"):
        theirs.save_model()


def test_without_validation_there_is_nothing_to_evaluate(make_args, splits):
    trainer = TwoStageTrainer(make_args(), train_dataset=splits["train"])
    with pytest.raises(ValueError, match="no validation split to evaluate on; pass eval_dataset"):
        trainer.evaluate()


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda p: {"model": "model"}, "model is passed without processing_class"),
        (lambda p: {"processor": p, "processing_class": p}, "two names of one argument"),
        (lambda p: {"processing_class": p.tokenizer}, "processing_class is a CLIPTokenizer"),
        (lambda p: {"splits": {}, "train_dataset": []}, "splits is passed and so is train_dataset"),
        (lambda p: {"eval_dataset": [], "test_dataset": []}, "eval_dataset and test_dataset is passed without train"),
        (lambda p: {"processing_class": p, "image_size": [64, 64]}, r"images of \(96, 32\) and image_size is \[64"),
        (lambda p: {"args": p}, "args is a PromptCLIPProcessor; pass TwoStageTrainingArguments"),
    ],
)
def test_arguments_that_exclude_each_other_are_refused(make_args, tiny_folder, wrong, message):
    wrong = wrong(PromptCLIPProcessor.from_pretrained(tiny_folder))
    size = {"image_size": wrong.pop("image_size")} if "image_size" in wrong else {}
    with pytest.raises((ValueError, TypeError), match=message):
        TwoStageTrainer(**{"args": make_args(**size), **wrong})
