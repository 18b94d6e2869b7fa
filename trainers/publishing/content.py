"""The files that a run publishes, without pictures of people."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import yaml

from dataset_scripts.common.text.documents import read_json_as
from dataset_scripts.common.upload_files import Selection, check_link, copy_files, select_files
from modeling_prompt_clip.hub import add_remote_code
from modeling_prompt_clip.hub.published_files import listed_adapter_file, listed_model_file
from modeling_prompt_clip.loading import ADAPTER_FILE
from trainers.arguments.fields import rules
from trainers.arguments.resolved import UNNAMED_MODEL, is_private_base
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.publishing.card_sources import public_value
from trainers.publishing.hub_card import hub_card
from trainers.publishing.run_card import CARD
from trainers.run_folder.files import read_arguments
from trainers.run_folder.folder import RunFolder

NOT_FINISHED = "the run is not finished: resume it with --resume auto"
CURVES = ("loss.png", "learning_rate.png", "validation.png")  # the other plots show people of the data set


def write_content(
    folder: str | Path, target: Path, repo_id: str, *, adapter_only: bool = False, license: str | None = None
) -> tuple[str, ...]:
    """Copy the files to upload into a new folder.

    Args:
        folder: of a finished run.
        target: new folder.
        repo_id: `USER/NAME`, for the card.
        adapter_only: only the prompts of stage one, which name their base model.
        license: see [`hub_card`].

    Returns:
        Files in the folder of the weights that were left out.

    Raises:
        OSError: no run, or an unfinished one.
        ValueError: the adapter's base model is private, or a link leaves the run.
    """
    run = RunFolder(folder)
    source = run.adapter if adapter_only else run.model
    needed = ADAPTER_FILE if adapter_only else "config.json"
    card = (run.adapter if adapter_only else run.path) / CARD
    for path, remedy in (
        (run.config, "give the folder of a run"),
        (source, _why_absent(run, adapter_only)),
        (source / needed, "it has been removed; copy the run's folder again, or train again"),
        (card, NOT_FINISHED),
    ):
        if not path.exists():
            raise FileNotFoundError(f"{run.path} has no {path.relative_to(run.path)}; {remedy}")
    curves = [run.plots / name for name in CURVES if (run.plots / name).exists()]
    for path in (run.config, card, run.results, run.plots, *curves):
        check_link(path, run.path, listed=path.name.__eq__)
    args = read_arguments(run.config)
    base_model = args.base_model or UNNAMED_MODEL
    if adapter_only and is_private_base(base_model):
        raise ValueError(
            f"the adapter's base_model is {base_model!r}, which nobody else has; push the whole model, or train "
            "from a base model on the Hub"
        )
    selection = copy_weights(source, target, run.path, adapter_only)
    if adapter_only:
        name_base_model(target, base_model)
    else:
        add_remote_code(target)
    # rows that `evaluate --output` has added name models and data by their places on this machine
    stages = ("base", "one") if adapter_only else ("base", "one", "two")
    results = [row for row in run.recorded() if row.get("stage") in stages]
    text = card.read_text(encoding="utf-8")
    text = hub_card(text, args, results, repo_id, adapter_only=adapter_only, license=license)
    (target / CARD).write_text(text, encoding="utf-8")
    published = replace(args, stages=["one"]) if adapter_only else args
    (target / "config.yaml").write_text(public_config(published), encoding="utf-8")
    (target / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for path in curves:
        (target / "plots").mkdir(exist_ok=True)
        shutil.copyfile(path, target / "plots" / path.name)
    return tuple(f"{source.name}/{name}" for name in selection.left_out if name != CARD)


def copy_weights(source: Path, target: Path, run: Path, adapter_only: bool) -> Selection:
    """Copy the known files of a model or adapter.

    Raises:
        ValueError: a link leaves the folder `run`, or the index of the weights is damaged.
        OSError: a file cannot be read or written, or there are no weights.
    """
    selection = select_files(source, listed_adapter_file if adapter_only else listed_model_file(source), within=run)
    if not any(name.endswith(".safetensors") for name in selection.files):
        raise FileNotFoundError(
            f"{source} has no weights (*.safetensors); copy the run's folder again, or train again"
        )
    copy_files(source, target, selection)
    return selection


def _why_absent(run: RunFolder, adapter_only: bool) -> str:
    stages = read_arguments(run.config).stages if run.config.exists() else []
    if ("one" if adapter_only else "two") in stages:
        return NOT_FINISHED
    return "it has no stage one: leave adapter_only out" if adapter_only else "it has no stage two: set adapter_only"


def name_base_model(folder: Path, base_model: str) -> None:
    """Record the run's name of the base model in an adapter."""
    path = folder / ADAPTER_FILE
    adapter = read_json_as(dict, path) | {"base_model_name_or_path": base_model}
    path.write_text(json.dumps(adapter, indent=2) + "\n", encoding="utf-8")


def public_config(args: TwoStageTrainingArguments) -> str:
    """Write settings as YAML to publish, local folders only by name."""
    settings = {
        name: public_value(getattr(args, name)) if rule.local else getattr(args, name)
        for name, rule in rules(args).items()
        if rule.published
    }
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


__all__ = ["copy_weights", "name_base_model", "public_config", "write_content"]
