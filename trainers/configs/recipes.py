"""Recipes and the command line of training, which overrides them."""

import argparse
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import Field
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers import HfArgumentParser

from dataset_scripts.common.own_code import code_names
from dataset_scripts.common.text.documents import read_yaml
from dataset_scripts.common.text.printable import one_line
from dataset_scripts.common.text.suggest import nearest_name
from trainers.arguments.aliases import known_names, own_names, running_stages
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.distributed.launch import LAUNCH_OPTIONS, launch_names

EPILOG = """recipes that ship with the package: {recipes}

examples:
  accelerate launch -m trainers.two_stage --config cuhk_pedes --data_dir /data/CUHK-PEDES \\
      --base_model openai/clip-vit-base-patch16
  prompt-clip train --config synthetic_pedes --output_dir runs/first --stage_two_learning_rate 1e-4
  prompt-clip train --config synthetic_pedes --output_dir runs/direct --direct true
  prompt-clip train --config synthetic_pedes --output_dir runs/second --stages two --adapter runs/first/adapter
  prompt-clip train --config rstp_reid --data_dir /data/RSTPReid --also_train_on icfg_pedes=/data/ICFG-PEDES \\
      --on_leak drop"""


DEFAULT_RECIPE = "synthetic_pedes"

logger = logging.getLogger(__name__)


class RecipeLoader(yaml.SafeLoader):
    """YAML that reads 1e-5 as a number, as version 1.2 does."""


_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
RecipeLoader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help with defaults and examples, and one spelling of each option."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        shown = copy(action)
        shown.option_strings = [name for name in action.option_strings if "-" not in name.lstrip("-")]
        return super()._format_action_invocation(shown)


class RecipeParser(HfArgumentParser):
    """transformers' parser of dataclass fields, with suggestions for unknown options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, formatter_class=HelpFormatter, **kwargs)
        for mapping in (dict, dict[str, float], dict[str, Any]):
            self.register("type", mapping, str)  # the dataclass reads mappings from text: JSON, or sdm=1,id=0.5
        for action in self._actions:
            if action.const is False:
                action.help = argparse.SUPPRESS  # the twin of a setting that is on; its help would say the opposite

    @staticmethod
    def _parse_dataclass_field(parser: argparse.ArgumentParser, field: Field) -> None:
        """Add the option of a setting, and hidden ones for its aliases."""
        aliases = field.metadata["rule"].aliases
        names = ", ".join(f"--{alias.name}" for alias in aliases)
        condition = ", if only this stage runs" if field.name.startswith("stage_") else ""
        also = f" Also {names}{condition}." if aliases else ""
        warning = " Experimental, see docs/training.md." if field.metadata["rule"].experimental else ""
        _add_option(parser, field, field.metadata["help"] + warning + also)
        for alias in aliases:
            if f"--{alias.name}" not in parser._option_string_actions:  # which another stage's setting has, too
                option = copy(field)
                option.name = alias.name
                if True in alias.values:
                    option.type, option.default = bool, False
                _add_option(parser, option, argparse.SUPPRESS)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """Parse, or exit with status 2 and a suggestion."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.refuse(unknown[0])
        return parsed

    def refuse(self, option: str) -> NoReturn:
        """Exit with status 2, naming the option nearest to an unknown one."""
        known = [name.lstrip("-") for name in self._option_string_actions if name.startswith("--")]
        self.error(f"unknown option {option!r}{suggestion(option.lstrip('-'), known, '--')}")

    def error(self, message: str) -> NoReturn:
        """Exit with status 2, on one line without control characters."""
        super().error(one_line(message))


def _add_option(parser: argparse.ArgumentParser, field: Field, help: str) -> None:
    option = copy(field)  # transformers changes the field's type, and gives its metadata to argparse
    option.metadata = {"help": help}
    HfArgumentParser._parse_dataclass_field(parser, option)


def field_names() -> list[str]:
    """Names of all settings, aliases included."""
    return sorted(known_names(TwoStageTrainingArguments))


def suggestion(name: str, known: Sequence[str], prefix: str = "") -> str:
    """Suggest the nearest name, or return an empty string."""
    near = nearest_name(name, known, cutoff=0.5)
    return f"; did you mean {prefix}{near}?" if near else ""


def recipe_names() -> list[str]:
    """Names of the recipes in `trainers/configs`."""
    folder = resources.files("trainers") / "configs"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_recipe(name_or_file: str) -> dict[str, Any]:
    """Read the settings of a recipe, by its name or YAML file.

    Raises:
        OSError: no such recipe and no such file.
        ValueError: not YAML, not a mapping, or an unknown key.
    """
    shipped = name_or_file in recipe_names()
    file = Path(str(resources.files("trainers")), "configs", f"{name_or_file}.yaml") if shipped else Path(name_or_file)
    if not file.is_file():
        raise OSError(
            f"config {name_or_file!r} is neither a file nor a recipe{suggestion(name_or_file, recipe_names())} "
            f"(recipes: {', '.join(recipe_names())})"
        )
    try:
        recipe = read_yaml(file, RecipeLoader)
    except ValueError as error:
        raise ValueError(f"config {name_or_file!r} cannot be read: {error}") from error
    if not isinstance(recipe, dict):
        raise ValueError(f"config {name_or_file!r} must be a mapping of settings, such as 'batch_size: 64'")
    for key in recipe:
        if key not in field_names():
            raise ValueError(
                f"config {name_or_file!r} has the unknown key {key!r}{suggestion(str(key), field_names())}"
            )
    return recipe


def parse_arguments(argv: Sequence[str] | None = None) -> TwoStageTrainingArguments:
    """Make settings from a recipe and the command line, which wins.

    Raises:
        OSError, ValueError: see [`read_recipe`] and [`TwoStageTrainingArguments`]. A wrong command line exits with 2.
    """
    parsed = vars(parse(argv))
    if parsed.pop("config", None) is None and "base_model" not in parsed:
        parsed["base_model"] = read_recipe(DEFAULT_RECIPE)["base_model"]
        logger.warning(
            "neither --base_model nor --config is named: training starts from %r, as the recipe %s does; for a CLIP "
            "that knows photographs add --base_model openai/clip-vit-base-patch16, a folder or another Hub id",
            parsed["base_model"],
            DEFAULT_RECIPE,
        )
    if parsed.pop("launch", None):
        raise ValueError("launch starts processes and is no setting of theirs; give it to prompt-clip train")
    return TwoStageTrainingArguments(**parsed)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Combine recipe and command line, unchecked, or exit with status 2.

    Raises OSError, ValueError: see [`read_recipe`].
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    chosen = RecipeParser([], add_help=False, allow_abbrev=False)
    chosen.add_argument("--config")
    chosen.add_argument("--dataset")
    named = chosen.parse_known_args(argv)[0]
    name = named.config or (None if named.dataset else DEFAULT_RECIPE)
    recipe = read_recipe(name) if name else {}
    train = parser()
    train.set_defaults(**recipe)  # for the help
    untouched = argparse.Namespace(**{action.dest: None for action in train._actions})
    options = {option: value for option, value in vars(train.parse_args(argv, untouched)).items() if value is not None}
    stages = running_stages(recipe | options)
    try:
        settings = own_names(TwoStageTrainingArguments, recipe, stages)
    except ValueError as error:
        raise ValueError(f"config {name!r}: {error}") from error
    refuse_code(f"config {name!r}", {key: value for key, value in settings.items() if key not in options})
    try:
        return argparse.Namespace(**settings | own_names(TwoStageTrainingArguments, options, stages))
    except ValueError as error:
        train.error(str(error))


def refuse_code(place: str, settings: Mapping[str, Any]) -> None:
    """Refuse settings of a file that name code, which is run only for who names it on the command line or in Python.

    Raises ValueError: a loss or the data set has the form MODULE:FUNCTION.
    """
    for key in ("stage_one_objectives", "stage_two_objectives", "dataset"):
        if code := code_names(settings.get(key)):
            raise ValueError(
                f"{place} names code in {key}: {', '.join(code)}. A file alone must not start code: read it, and if "
                f"you trust it, add --{key} with the same value to the command line"
            )


def parser() -> RecipeParser:
    """The parser of `prompt-clip train`, with an option for each setting."""
    recipes = ", ".join(recipe_names())
    train = RecipeParser(
        list(reversed(TwoStageTrainingArguments.__bases__)),  # whose names become those of groups of options
        prog="prompt-clip train",
        usage="prompt-clip train [--config NAME_OR_FILE] [--any_field VALUE ...]",
        description="Adapt a CLIP to person search in two stages.",
        epilog=EPILOG.format(recipes=recipes),
        allow_abbrev=False,
    )
    train.add_argument(
        "--config",
        default=DEFAULT_RECIPE,
        help=f"A recipe ({recipes}) or a YAML file of settings; not read by default where --dataset is named.",
    )
    train.add_argument(
        "--launch",
        metavar="NAME",
        help=f"Train in several processes, as accelerate is configured by NAME ({', '.join(launch_names())}), with "
        f"{', '.join(f'--{option}' for option in LAUNCH_OPTIONS)}; see docs/training.md.",
    )
    return train


__all__ = ["parse", "parse_arguments", "parser", "read_recipe", "recipe_names"]
