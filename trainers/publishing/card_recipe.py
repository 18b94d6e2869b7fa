"""The training recipe of a run in words, for its card."""

from collections.abc import Mapping
from typing import Any

from dataset_scripts.common.text.markdown import as_text
from trainers.arguments.fields import rules
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.publishing.card_sources import public_value
from trainers.run_folder.results import StageResult


def recipe_points(
    args: TwoStageTrainingArguments, stages: Mapping[str, StageResult], processes: int = 1
) -> tuple[str, ...]:
    """List the points of a recipe, trained in some `processes`."""
    points = [_prompts(args)] if not args.direct else []
    points += [stage_line(args, name, result) for name, result in stages.items()]
    return (*points, _losses(args, stages), _steps(args, processes), _augmentation(args), *_options(args, stages))


def stage_line(args: TwoStageTrainingArguments, name: str, result: StageResult) -> str:
    """Describe what a stage trained, how, and for how long."""
    stage = args.stage(name)
    trained = {"one": "prompts only, CLIP frozen", "two": "CLIP, its prompts fixed"}[name]
    if args.direct:
        trained = "CLIP, without new prompts (direct fine-tuning)"
    if name == "two" and args.stage_two_lora_rank:
        trained += (
            f", by low-rank updates (LoRA, rank {args.stage_two_lora_rank}) that are merged now, "
            f"alpha {args.stage_two_lora_alpha:g}"
        )
    losses = " + ".join(
        as_text(loss) if weight == 1 else f"{weight:g} x {as_text(loss)}" for loss, weight in stage.objectives.items()
    )
    skipped = f", {result.skipped_steps} of them skipped as not finite" if result.skipped_steps else ""
    return (
        f"Stage {name}: {trained}; loss {losses}; learning rate {stage.learning_rate:g}, after a warm-up from "
        f"{args.warmup_start:g} of it over {100 * stage.warmup_ratio:g} % of the steps; weight decay "
        f"{stage.weight_decay:g}; {result.steps} steps{skipped} in {result.seconds:.0f} s, step {result.best_step} "
        "kept."
    )


def _prompts(args: TwoStageTrainingArguments) -> str:
    start = {
        "normal": "start as draws from a normal distribution",
        "activations": f"start from activations (of {as_text(repr(args.prompt_init_phrase))} and of training images)",
    }[args.prompt_init]
    origin = "are those of an earlier run" if args.adapter else start
    coupled = "; those of vision are a learned projection of those of text" if args.coupled_prompts else ""
    return f"Prompts {origin}{coupled}."


def _losses(args: TwoStageTrainingArguments, stages: Mapping[str, StageResult]) -> str:
    used = sorted({loss for name in stages for loss in args.stage(name).objectives})
    options = args.objective_options()
    settings = [
        f"{loss} with " + ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in options[loss].items())
        if loss in options
        else f"{as_text(loss)}, a function of whoever trained the model"
        for loss in used
    ]
    learned = "; temperatures are learned from these on" if args.learn_temperature else ""
    return f"Losses: {'; '.join(settings)}{learned}."


def _steps(args: TwoStageTrainingArguments, processes: int) -> str:
    size = f"{processes * args.batch_size} pairs"
    if processes > 1:
        size += f" ({args.batch_size} on each of {processes} processes)"
    if args.gradient_accumulation_steps > 1:
        size += f", {args.gradient_accumulation_steps} batches a step"
    precision = "float32" if args.mixed_precision == "no" else f"{args.mixed_precision} mixed precision"
    sampling = {
        "shuffle": f"shuffled in a buffer of {args.shuffle_buffer:,}" if args.streaming else "shuffled",
        "identity": f"{args.num_instances} of each person in them",
        "length": "their captions of about one length",
    }[args.sampling]
    clipped = f"gradient norm at most {args.max_grad_norm:g}" if args.max_grad_norm else "gradients not clipped"
    return (
        f"Steps: batches of {size}, {sampling}; {args.optimizer} (betas {args.adam_beta1:g} and "
        f"{args.adam_beta2:g}), cosine schedule to 0; {clipped}; {precision}; seed {args.seed}."
    )


def _augmentation(args: TwoStageTrainingArguments) -> str:
    done = [
        rule.card.format(getattr(args, name))
        for name, rule in rules(args).items()
        if name.startswith("augment_") and rule.card and getattr(args, name)
    ]
    words = ", ".join(f"{name} {chance:g}" for name, chance in args.augment_text.items())
    return f"Augmentation: images {', '.join(done) or 'as they are'}; captions {words or 'as they are'}."


def _options(args: TwoStageTrainingArguments, stages: Mapping[str, StageResult]) -> list[str]:
    """Describe settings off their defaults, and those of losses in use."""
    used = {loss for name in stages for loss in args.stage(name).objectives}
    defaults, points = TwoStageTrainingArguments(), []
    for name, rule in rules(args).items():
        value = getattr(args, name)
        shown = not used.isdisjoint(rule.losses) if rule.losses else value != getattr(defaults, name)
        if rule.card and shown and not name.startswith("augment_"):
            points.append(rule.card.format(_in_words(value)))
    return points


def _in_words(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return ", ".join(as_text(f"{name} {item}") for name, item in public_value(value).items())


__all__ = ["recipe_points", "stage_line"]
