"""Check where a Hub set's settings look for its files, before any request."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from datasets.config import REPOYAML_FILENAME
from huggingface_hub import HfApi, hf_hub_download, metadata_load

from dataset_scripts.parquet.card import CARD

__all__ = ["checked_commit"]

_PLACES = frozenset({"data_files", "data_dir"})
_ELSEWHERE = re.compile(r"://|::|^[/~\\]|^[A-Za-z]:|(^|/)\.\.(/|$)")


def checked_commit(repo_id: str, revision: str | None) -> str:
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
        return yaml.safe_load(file.read_text(encoding="utf-8", errors="replace"))
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
