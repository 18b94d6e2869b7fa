"""Load a person-search set from the Hub."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import datasets
import yaml
from datasets.config import REPOYAML_FILENAME
from datasets.data_files import DataFilesDict
from datasets.exceptions import DatasetsError
from datasets.packaged_modules.parquet.parquet import Parquet
from huggingface_hub import HfApi, hf_hub_download, is_offline_mode, metadata_load

from dataset_scripts.common.hub_errors import hub_errors_in_words
from dataset_scripts.common.text.documents import read_yaml
from dataset_scripts.parquet.builder import PersonSearchParquet
from dataset_scripts.parquet.card import CARD
from dataset_scripts.parquet.columns import Rows, Splits, with_features
from dataset_scripts.parquet.rows import check_annotation, loaded_rows
from dataset_scripts.parquet.shard_names import SPLIT_NAMES

__all__ = ["load_from_hub"]

_PLACES = frozenset({"data_files", "data_dir"})
_ELSEWHERE = re.compile(r"://|::|^[/~\\]|^[A-Za-z]:|(^|/)\.\.(/|$)")


def load_from_hub(
    repo_id: str,
    split: str | None = None,
    *,
    streaming: bool = False,
    cache_dir: str | Path | None = None,
    revision: str | None = None,
    num_proc: int | None = None,
) -> Rows | Splits:
    """Load a set that `prompt-clip data push` uploaded, or one with its columns.

    The Hub's current state is loaded, never an outdated cached copy; with `HF_HUB_OFFLINE=1` the cached copy is used
    without a connection.

    Args:
        repo_id: `USER/NAME`.
        split, streaming, cache_dir, num_proc: as in `load_parquet`.
        revision: branch, tag or commit; by default the newest.

    Returns:
        As `load_parquet`.

    Raises:
        ValueError: an unknown or misnamed split, a data file outside the repository, a missing or wrong column, an
            invalid row, or an image that is not inside the set (paths and URLs in rows are never opened).
        OSError: the repository does not exist, may not be read or cannot be reached; the message says what to do.
    """
    if Path(repo_id).is_dir():
        raise ValueError(f"{repo_id} is a folder here, which hides the repository. Pass it as data_dir of 'parquet'.")
    with hub_errors_in_words(repo_id, "loaded"):
        commit = revision if is_offline_mode() else _checked_commit(repo_id, revision)
        try:
            builder = datasets.load_dataset_builder(repo_id, cache_dir=cache_dir and str(cache_dir), revision=commit)
            # Where the Hub fails, `datasets` takes whatever its cache has, and leaves it at a warning.
            if builder.hash != commit and not is_offline_mode():
                raise ConnectionError(f"commit {commit} of {repo_id} cannot be had")
            names = _own_names(builder, repo_id)
            own = names.get(split, split)
            if not streaming:
                builder = _for_one_split(builder, own, cache_dir)
                builder.download_and_prepare(num_proc=num_proc)
            loaded = builder.as_streaming_dataset(own) if streaming else builder.as_dataset(own)
        except DatasetsError as error:
            raise OSError(f"{repo_id} cannot be loaded: {error.__cause__ or error}") from error
    whole = isinstance(loaded, Mapping)
    named = {_split_name(name, repo_id): rows for name, rows in (loaded.items() if whole else [(own, loaded)])}
    parts = {name: with_features(rows, f"{repo_id}, {name}") for name, rows in named.items()}
    check_annotation({name: loaded_rows(rows, f"{repo_id}, {name}") for name, rows in parts.items()})
    return type(loaded)(parts) if whole else next(iter(parts.values()))


def _checked_commit(repo_id: str, revision: str | None) -> str:
    """Return a revision's commit; raise ValueError if it names files elsewhere.

    `datasets` also refuses such files, but only after requesting the addresses they name.
    """
    info = HfApi().dataset_info(repo_id, revision=revision)
    for file in {CARD, REPOYAML_FILENAME}.intersection(sibling.rfilename for sibling in info.siblings or ()):
        path = Path(hf_hub_download(repo_id, file, repo_type="dataset", revision=info.sha))
        for place in _places(_settings(path), ()):
            if _ELSEWHERE.search(place):
                raise ValueError(
                    f"{repo_id}: {file} names the data file {place!r}, which is not in the repository. Nothing else "
                    "is opened: have the file put into the repository, and named by its path there."
                )
    return info.sha


def _settings(file: Path) -> object:
    try:
        if file.name == CARD:
            return metadata_load(file)
        return read_yaml(file)
    except (yaml.YAMLError, ValueError):
        return None  # for `datasets` to refuse


def _places(settings: object, names: tuple[str, ...]) -> Iterator[str]:
    """Yield the texts below `data_files` and `data_dir` in nested settings."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from _places(value, (*names, str(name)))
    elif isinstance(settings, list):
        for value in settings:
            yield from _places(value, names)
    elif isinstance(settings, str) and _PLACES.intersection(names):
        yield settings


def _own_names(builder: datasets.DatasetBuilder, repo_id: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for name in builder.config.data_files or builder.info.splits or ():
        split = SPLIT_NAMES.get(str(name).lower())
        if split in names:
            raise ValueError(
                f"{repo_id} names the {split} split in two ways: {names[split]} and {name}. Keep one in the card's "
                "data_files."
            )
        if split is not None:
            names[split] = str(name)
    return names


def _split_name(name: str, repo_id: str) -> str:
    if name.lower() not in SPLIT_NAMES:
        raise ValueError(
            f"{repo_id} has the split {name!r}, but splits are train, validation and test. Rename it in the card's "
            "data_files, or pass the folder of a copy as data_dir of 'parquet'."
        )
    return SPLIT_NAMES[name.lower()]


def _for_one_split(
    builder: datasets.DatasetBuilder, split: str | None, cache_dir: str | Path | None
) -> datasets.DatasetBuilder:
    files = builder.config.data_files or {}
    if not isinstance(builder, Parquet) or split not in files or len(files) == 1:
        return builder
    return PersonSearchParquet(
        cache_dir=cache_dir and str(cache_dir),
        dataset_name=f"{builder.dataset_name}_{split}",
        hash=builder.hash,
        data_files=DataFilesDict({split: files[split]}),
        features=builder.config.features,
    )
