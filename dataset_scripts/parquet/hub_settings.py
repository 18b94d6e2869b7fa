"""What a set on the Hub says of its own files, read before any of them is asked for."""

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
    """Returns the commit of a revision. Raises ValueError where its settings name files that are not in it.

    `datasets` refuses such files too, but only after it has asked for them at the addresses that are named.
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
    """Returns what the YAML of a card, or of a file of settings, says; None where it is no YAML."""
    try:
        if file.name == CARD:
            return metadata_load(file)
        return yaml.safe_load(file.read_text(encoding="utf-8", errors="replace"))
    except (yaml.YAMLError, ValueError):
        return None  # for `datasets` to refuse


def _places(settings: object, names: tuple[str, ...]) -> Iterator[str]:
    """Yields the texts below `data_files` and `data_dir` in nested settings; `names` lead there."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from _places(value, (*names, str(name)))
    elif isinstance(settings, list):
        for value in settings:
            yield from _places(value, names)
    elif isinstance(settings, str) and _PLACES.intersection(names):
        yield settings
