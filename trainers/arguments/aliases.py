"""transformers' names of settings, translated into ours."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, get_type_hints

from dataset_scripts.common.text.suggest import did_you_mean
from trainers.arguments.checks import check_value
from trainers.arguments.fields import Alias, rules

__all__ = ["accept_aliases", "known_names", "own_names", "running_stages"]

Settings = TypeVar("Settings")


def accept_aliases(settings: type[Settings]) -> type[Settings]:
    """Let a dataclass of settings take aliases; suggest names for unknown keywords."""
    init: Callable[..., None] = settings.__init__

    @wraps(init)
    def translated(self: Settings, *args: Any, **keywords: Any) -> None:
        for name in keywords.keys() - known_names(settings):
            raise TypeError(f"{name!r} is not a setting.{did_you_mean(name, known_names(settings))}")
        init(self, *args, **own_names(settings, keywords))

    settings.__init__ = translated  # type: ignore[assignment]
    return settings


def known_names(settings: Any) -> set[str]:
    """Names of all settings, aliases included."""
    return rules(settings).keys() | _meanings(settings).keys()


def running_stages(values: Mapping[str, Any]) -> Sequence[str]:
    """The stages that settings ask for, before these are checked."""
    stages = ["two"] if values.get("direct") is True else values.get("stages")
    return stages if isinstance(stages, list | tuple) else ["one", "two"]


def own_names(settings: Any, values: Mapping[str, Any], stages: Sequence[str] | None = None) -> dict[str, Any]:
    """Translate aliases among the names of values.

    Args:
        settings: a dataclass whose fields are made by [`setting`].
        values: by name.
        stages: that run; by default those that the values ask for.

    Raises ValueError: two names of one setting with different values, a value that an alias does not take, or the
        alias of a stage's setting where both stages run.
    """
    meanings = _meanings(settings)
    own = {name: value for name, value in values.items() if name not in meanings}
    source = {name: name for name in own}
    # aliases that are off come last and give way: bf16=False means nothing if fp16 is set
    for name in sorted(meanings.keys() & values.keys(), key=lambda name: (_is_off(values[name]), name)):
        target, alias = _meaning(name, meanings[name], running_stages(values) if stages is None else stages)
        value = _translated(settings, target, alias, values[name])
        if target not in own:
            own[target], source[target] = value, name
        elif own[target] != value and not (_is_off(values[name]) and own[target] != alias.values.get(True)):
            other = source[target]
            raise ValueError(
                f"{other} is {values[other]!r} and {name} is {values[name]!r}, but both set {target}; keep one of them"
            )
    return own


def _meanings(settings: Any) -> dict[str, list[tuple[str, Alias]]]:
    """Map the name of each alias to its possible settings."""
    found: dict[str, list[tuple[str, Alias]]] = {}
    for name, rule in rules(settings).items():
        for alias in rule.aliases:
            found.setdefault(alias.name, []).append((name, alias))
    return found


def _meaning(name: str, meanings: Sequence[tuple[str, Alias]], stages: Sequence[str]) -> tuple[str, Alias]:
    if len(meanings) == 1:
        return meanings[0]
    running = [each for each in meanings if any(each[0].startswith(f"stage_{stage}_") for stage in stages)]
    if len(running) != 1:
        both = " and ".join(target for target, _ in meanings)
        raise ValueError(f"{name} is for runs of one stage, and this one has two; set {both}")
    return running[0]


def _translated(settings: Any, target: str, alias: Alias, value: Any) -> Any:
    """The value of an alias in our words; errors name the alias."""
    rule = rules(settings)[target]
    if not alias.values:
        check_value(alias.name, value, get_type_hints(settings)[target], rule)
        return value
    for theirs, ours in alias.values.items():
        if value == theirs or (value is None and theirs is False):
            return ours
    if value not in rule.choices:
        known = ", ".join(dict.fromkeys(map(str, (*alias.values, *rule.choices))))
        raise ValueError(f"{alias.name} is {value!r}; as another name of {target} it must be one of {known}")
    return value


def _is_off(value: Any) -> bool:
    return value is False or value is None
