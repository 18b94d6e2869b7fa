"""What a run gives to a repository: model or adapter, code, card, settings, figures, curves; no picture of anybody."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from modeling_prompt_clip.hub import add_remote_code
from trainers.arguments import TwoStageTrainingArguments
from trainers.data_sources import base_label, sources_of
from trainers.publishing.hub_card import hub_card
from trainers.run_card import CARD
from trainers.run_folder import RunFolder
from trainers.splits import source_label

CURVES = ("loss.png", "learning_rate.png", "validation.png")  # the other plots show people of the data set
PLACES = ("data_dir", "output_dir", "adapter")  # settings that say where files lie on this machine


def write_content(
    folder: str | Path, target: Path, repo_id: str, *, adapter_only: bool = False, license: str | None = None
) -> None:
    """Fill a new folder with what is to be uploaded; the run stays as it is.

    Args:
        folder: of a finished run.
        target: is made.
        repo_id: `USER/NAME`, for the card.
        adapter_only: the prompts of stage one alone, which name their base model.
        license: see [`hub_card`].

    Raises:
        OSError: there is no run, or it is not finished.
        ValueError: the adapter's base model is a folder of this machine, which nobody else has.
    """
    run = RunFolder(folder)
    source = run.adapter if adapter_only else run.model
    card = (run.adapter if adapter_only else run.path) / CARD
    for path, remedy in (
        (run.config, "give the folder of a run"),
        (source, f"the run has no stage {'one' if adapter_only else 'two'}"),
        (card, "the run is not finished: go on with --resume auto"),
    ):
        if not path.exists():
            raise FileNotFoundError(f"{run.path} has no {path.relative_to(run.path)}; {remedy}")
    settings = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    args = TwoStageTrainingArguments(**settings)
    if adapter_only and Path(args.base_model).is_dir():
        raise ValueError(
            f"the adapter's base_model is {args.base_model!r}, a folder of this machine that nobody else has; push "
            "the whole model, or train from a base model on the Hub"
        )
    shutil.copytree(source, target)
    if not adapter_only:
        add_remote_code(target)
    # rows that `evaluate --output` has added name models and data by their places on this machine
    results = [row for row in run.recorded() if "stage" in row]
    text = card.read_text(encoding="utf-8")
    text = hub_card(text, args, results, repo_id, adapter_only=adapter_only, license=license)
    (target / CARD).write_text(text, encoding="utf-8")
    (target / "config.yaml").write_text(without_places(settings), encoding="utf-8")
    (target / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for name in CURVES:
        if (run.plots / name).is_file():
            (target / "plots").mkdir(exist_ok=True)
            shutil.copyfile(run.plots / name, target / "plots" / name)


def without_places(settings: dict[str, Any]) -> str:
    """The run's settings as YAML, without the places on this machine, which are nobody's business."""
    told = {name: value for name, value in settings.items() if name not in PLACES}
    told["base_model"] = base_label(told["base_model"])
    own, *joined = sources_of(TwoStageTrainingArguments(**settings))
    told["dataset"] = own[0] if own[0] != "auto" else source_label(*own)
    told["also_train_on"] = [name if name != "auto" else source_label(name, folder) for name, folder in joined]
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True)


__all__ = ["write_content"]
