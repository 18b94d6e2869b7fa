"""A run's splits: loaded, combined with other training sets, and guarded against test images."""

import itertools
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
from accelerate import Accelerator

from dataset_scripts import PERSON_SEARCH_DATASETS, load_person_search, skipped_images
from dataset_scripts.builders.concatenate import concatenate_training_sets
from dataset_scripts.builders.image_features import PersonImage, check_images_inside
from dataset_scripts.common.files import write_json
from dataset_scripts.common.own_code import names_code
from dataset_scripts.common.text.markdown import as_code, as_text
from dataset_scripts.formats import FORMATS
from dataset_scripts.leaks.guard import LeakReport, drop_leaks, find_leaks
from dataset_scripts.parquet import is_parquet_folder
from modeling_prompt_clip import PromptCLIPProcessor
from modeling_prompt_clip.retrieval import TextToImageEvaluator
from modeling_prompt_clip.retrieval.pictures import dataset_sheet
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.data.own import own_splits
from trainers.data.streaming import first_rows

logger = logging.getLogger(__name__)

_DRAWN_OF_A_STREAM = 256  # rows

Rows = datasets.Dataset | datasets.IterableDataset


@dataclass
class RunSplits:
    """Splits of a run, and what was done to them."""

    splits: dict[str, Rows]  # `train` and, if present, `validation` and `test`
    joined: list[str] = field(default_factory=list)  # names of all sets in the training split, if several
    # unusable images that were left out, see [`skipped_images`]
    skipped: list[dict[str, Any]] = field(default_factory=list)
    leaks: LeakReport | None = None  # the guard's findings; `None` if it had nothing to compare
    dropped: int = 0  # training rows dropped for them

    def notes(self) -> list[str]:
        """Sentences for the run's card; none for one whole set."""
        notes = []
        if self.joined:
            notes.append(f"The training split joins those of {', '.join(map(as_code, self.joined))}.")
        if self.skipped:
            counts = Counter(image["split"] for image in self.skipped)
            listed = ", ".join(f"{count} of {as_text(split)}" for split, count in counts.items())
            notes.append(
                f"Images that could not be used were left out: {listed} (`skipped_images.json` in the run's folder)."
            )
        if self.leaks is not None:
            notes.append(f"{self._leaks_note()} (`leaks.json` in the run's folder).")
        return notes

    def write(self, folder: Path) -> None:
        """Write `skipped_images.json` and `leaks.json` into a run folder, if they have entries."""
        if self.skipped:
            write_json(folder / "skipped_images.json", self.skipped)
        if self.leaks is not None:
            write_json(folder / "leaks.json", self.leaks.to_dict())

    def draw_training_set(self, folder: Path, seed: int) -> Path:
        """Draw a contact sheet of the training set, where faults show.

        Returns:
            The picture's path.
        """
        train = self.splits["train"]
        shown = train if isinstance(train, datasets.Dataset) else first_rows(train, _DRAWN_OF_A_STREAM)
        dataset_sheet(shown, seed=seed).save(folder / "training_set.png")
        return folder / "training_set.png"

    def _leaks_note(self) -> str:
        if not self.leaks:
            return "No training image was found, by name or picture, among the validation and test images"
        found = (
            f"Of {self.leaks.train_images} training images, {len(self.leaks.leaks)} were found among the validation "
            "and test images"
        )
        if self.dropped:
            return f"{found}; all {self.dropped} images of their persons were left out"
        return f"{found}, **and were trained on: the results are too good**"


def prepare_splits(args: TwoStageTrainingArguments, splits: Mapping[str, Rows] | None = None) -> RunSplits:
    """Load, combine and guard the splits that the settings name.

    Args:
        args: the settings.
        splits: used instead of `args.dataset`; their images are read by our rule.

    Raises ValueError, TypeError, OSError: see [`load_person_search`]; no train split; sets that cannot be combined;
        test images among the training images, with `args.on_leak` "error".
    """
    splits = splits if splits is not None else load_splits(args)
    run = RunSplits({name: read_by_our_rule(rows) for name, rows in splits.items()})
    for rows in run.splits.values():
        check_images_inside(rows)
    if "train" not in run.splits:
        raise ValueError(f"the data set has no train split, only {sorted(run.splits)}; name one that has")
    if args.on_bad_image == "skip" and isinstance(run.splits["train"], datasets.Dataset):
        label = source_label(*resolve_source(args.dataset, args.data_dir))
        run.skipped = [{"dataset": label, **image} for image in skipped_images(run.splits["train"])]
    if args.also_train_on:
        _join(args, run)
        _guard(args, run)
    if run.skipped:
        logger.warning("%d images cannot be used and are left out", len(run.skipped))
    return run


def read_by_our_rule(rows: Rows) -> Rows:
    """Read a split's images upright, on white, and from no address.

    A caller's split has `datasets.Image`, which requests any address that a row names.
    """
    own = type((rows.features or {}).get("image")) is datasets.Image
    return rows.cast_column("image", PersonImage()) if own else rows


def named_splits(
    splits: Mapping[str, Rows] | None,
    single: Mapping[str, Rows | None],
) -> Mapping[str, Rows] | None:
    """Combine the splits that a caller passed in either form."""
    passed = {name: rows for name, rows in single.items() if rows is not None}
    arguments = {"train": "train_dataset", "validation": "eval_dataset", "test": "test_dataset"}
    names = " and ".join(arguments[name] for name in passed)
    if splits is not None and passed:
        raise ValueError(f"splits is passed and so is {names}; pass one or the other")
    if passed and "train" not in passed:
        raise ValueError(f"{names} is passed without train_dataset; pass that, too, or name the data set in args")
    return passed or splits


def load_splits(args: TwoStageTrainingArguments) -> dict[str, Rows]:
    """Load all splits of the run's data set; with `args.streaming`, the train split as a stream."""
    name, folder = resolve_source(args.dataset, args.data_dir)
    options = source_options(args, name, folder)
    if args.on_bad_image == "skip" and "on_bad_image" not in options:
        logger.warning("on_bad_image is 'skip' and has no effect on %s: only sets in folders take it", name)
    if names_code(name):
        if args.streaming:
            raise ValueError(f"streaming is set and dataset is {name!r}, whose rows are read at once; leave it out")
        return dict(own_splits(name, folder, options))
    if not args.streaming:
        return dict(load_person_search(name, folder, None, **options))
    streams = load_person_search(name, folder, None, streaming=True, **options)
    return {
        split: stream if split == "train" else load_person_search(name, folder, split, **options)
        for split, stream in streams.items()
    }


def source_options(args: TwoStageTrainingArguments, name: str, folder: str | Path | None = None) -> dict[str, Any]:
    """Options for the builder of the run's data set, beside the folder."""
    return {**joined_options(args, name, folder), **args.dataset_options}


def resolve_source(name: str, folder: str | Path | None = None) -> tuple[str, str | Path | None]:
    """Return a data set's name and folder as [`load_person_search`] takes them.

    A known name is a set, a path or existing folder is a folder whose format is detected, anything else is on the Hub.
    """
    is_path = name.startswith((".", "/", "~")) or Path(name).is_dir()
    if folder is None and name not in PERSON_SEARCH_DATASETS and is_path:
        return "auto", name
    return name, folder


def source_label(name: str, folder: str | Path | None) -> str:
    """Label of a set: its name, or its folder's name if the format says nothing."""
    if folder is not None and name in ("auto", "custom", "parquet"):
        return Path(folder).expanduser().resolve().name
    return name


def joined_options(args: TwoStageTrainingArguments, name: str, folder: str | Path | None) -> dict[str, Any]:
    """Non-default settings for the builder of a set in a folder."""
    if name not in FORMATS and (name != "auto" or is_parquet_folder(folder)):
        return {}
    options = {} if args.clean_captions else {"clean_captions": False}
    if args.split_rule != "names":
        options["split_rule"] = args.split_rule
    return options if args.on_bad_image == "error" else {**options, "on_bad_image": args.on_bad_image}


def _join(args: TwoStageTrainingArguments, run: RunSplits) -> None:
    """Add the train splits of `args.also_train_on`."""
    if not isinstance(run.splits["train"], datasets.Dataset):
        raise ValueError("the train split is a stream, which cannot be joined; leave also_train_on out")
    parts = {source_label(*resolve_source(args.dataset, args.data_dir)): run.splits["train"]}
    for source in args.also_train_on:
        name, _, folder = source.partition("=")
        name, folder = resolve_source(name, folder or None)
        part = load_person_search(name, folder, "train", **joined_options(args, name, folder))
        label = _free(source_label(name, folder), parts)
        parts[label] = part
        if args.on_bad_image == "skip":
            skipped = [{"dataset": label, **image} for image in skipped_images(part) if image["split"] == "train"]
            run.skipped += skipped
    run.splits["train"] = concatenate_training_sets(parts)
    run.joined = list(parts)
    sizes = ", ".join(f"{name} ({len(part)} images)" for name, part in parts.items())
    logger.info("the training split joins %s", sizes)


def _free(label: str, taken: Mapping[str, Any]) -> str:
    """Number the label if it is taken."""
    if label not in taken:
        return label
    return next(free for number in itertools.count(2) if (free := f"{label}-{number}") not in taken)


def _guard(args: TwoStageTrainingArguments, run: RunSplits) -> None:
    """Find evaluation images in the combined training split and apply `args.on_leak`."""
    held_out = {name: rows for name, rows in run.splits.items() if name != "train"}
    if not held_out:
        return
    train = run.splits["train"]
    run.leaks = find_leaks(train, held_out)
    if not run.leaks:
        return
    logger.warning(run.leaks.summary())
    if args.on_leak == "error":
        raise ValueError(
            f"of {len(train)} images in the joined training split, {len(run.leaks.leaks)} are among the validation "
            f"and test images, first {run.leaks.leaks[0].train_image_id}; set on_leak to 'drop' to leave out their "
            "persons, or to 'allow'"
        )
    if args.on_leak == "drop":
        run.splits["train"] = drop_leaks(train, run.leaks, by="persons")
        run.dropped = len(train) - len(run.splits["train"])
        logger.warning("all %d images of those persons are left out of training", run.dropped)
    else:
        logger.warning("they are trained on, as on_leak is 'allow': the results will be too good")


def split_evaluator(
    args: TwoStageTrainingArguments,
    accelerator: Accelerator,
    processor: PromptCLIPProcessor,
    splits: Mapping[str, Rows],
    split: str,
) -> TextToImageEvaluator | None:
    """Return the evaluator of a split; `None` if the data set lacks the split."""
    if split not in splits:
        return None
    on_cpu = accelerator.device.type == "cpu"  # there workers would take the model's own cores
    return TextToImageEvaluator(
        splits[split],
        processor,
        batch_size=args.eval_batch_size,
        progress=accelerator.is_main_process,
        num_workers=0 if on_cpu else args.num_workers,
    )


__all__ = [
    "RunSplits",
    "joined_options",
    "load_splits",
    "named_splits",
    "prepare_splits",
    "read_by_our_rule",
    "resolve_source",
    "source_label",
    "source_options",
    "split_evaluator",
]
