"""Settings that were changed but have no effect in a run."""

from collections.abc import Iterator

from trainers.arguments.fields import rules
from trainers.arguments.settings import TwoStageTrainingArguments

__all__ = ["settings_without_effect"]


def settings_without_effect(args: TwoStageTrainingArguments) -> Iterator[str]:
    """Explain each setting that differs from its default in vain."""
    losses = {loss for name in args.stages for loss, weight in args.stage(name).objectives.items() if weight}
    defaults = TwoStageTrainingArguments()
    for name, rule in rules(args).items():
        value = getattr(args, name)
        if value == getattr(defaults, name):
            continue
        if rule.losses and losses.isdisjoint(rule.losses):
            yield f"{name} is {value!r} and has no effect: only {', '.join(rule.losses)} would read it"
        if rule.needs:
            other, wanted = rule.needs
            found = getattr(args, other)
            if found != wanted and not (wanted is None and found):
                without = other if wanted is None else f"{other} {wanted!r}"
                yield f"{name} is {value!r} and has no effect without {without}"
    if args.micro_batch_size >= args.batch_size:
        yield f"micro_batch_size is {args.micro_batch_size} and has no effect: batch_size is not larger"
    for stage in map(args.stage, args.stages):
        if stage.max_steps > 0 and stage.epochs != getattr(defaults, f"stage_{stage.name}_epochs"):
            steps = f"stage_{stage.name}_max_steps {stage.max_steps}"
            yield f"stage_{stage.name}_epochs is {stage.epochs} and has no effect: {steps} stands in its place"
