"""The annotation formats, one per file, and their detection."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from dataset_scripts.annotations.other_layouts import describe_other_layout
from dataset_scripts.common.text.suggest import did_you_mean
from dataset_scripts.formats.base import AnnotationFormat, SplitCounts

__all__ = ["FORMATS", "AnnotationFormat", "SplitCounts", "detect_format", "get_format"]

FORMATS = MappingProxyType(
    {
        "cuhk_pedes": "dataset_scripts.formats.cuhk_pedes:CuhkPedes",
        "icfg_pedes": "dataset_scripts.formats.icfg_pedes:IcfgPedes",
        "rstp_reid": "dataset_scripts.formats.rstp_reid:RstpReid",
        "ufine6926": "dataset_scripts.formats.ufine6926:UFine6926",
        "synth_pedes": "dataset_scripts.formats.synth_pedes:SynthPedes",
        "mals": "dataset_scripts.formats.mals:Mals",
        "luperson_mllm": "dataset_scripts.formats.luperson_mllm:LUPersonMllm",
        "custom": "dataset_scripts.formats.custom:Custom",
    }
)
"""Name -> where the format lives. In the order in which `detect_format` tries them: the most particular first."""


def get_format(name: str) -> AnnotationFormat:
    """Return a format of `FORMATS` by name; raise ValueError for another name."""
    if name not in FORMATS:
        raise ValueError(f"format is {name!r}, but must be one of {', '.join(FORMATS)}.{did_you_mean(name, FORMATS)}")
    module, class_name = FORMATS[name].split(":")
    return getattr(import_module(module), class_name)()


def detect_format(folder: str | Path) -> AnnotationFormat:
    """Return the format of a folder, by its annotation's name and first row.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no format matches; the message says what is missing, or which folder to pass.
    """
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        state = "is a file" if folder.is_file() else "does not exist"
        raise FileNotFoundError(f"data_dir {folder} {state}. Name the folder of a data set.")
    formats = [get_format(name) for name in FORMATS]
    found = _first_match(folder, formats)
    if not found:
        raise ValueError(_why_unknown(folder, formats))
    return found


def _first_match(folder: Path, formats: Sequence[AnnotationFormat]) -> AnnotationFormat | None:
    return next((candidate for candidate in formats if candidate.matches(folder)), None)


def _why_unknown(folder: Path, formats: Sequence[AnnotationFormat]) -> str:
    for candidate in formats:
        for name, lack in candidate.known_files.items():
            if (folder / name).is_file():
                return f"{folder} is no complete copy of {candidate.title}: {lack}"
    for nearby in (folder.parent, *sorted(filter(Path.is_dir, folder.iterdir()))):
        found = _first_match(nearby, formats)
        if found:
            return f"{folder} has no annotation, but {nearby} holds {found.title}: pass that as data_dir."
    if other := describe_other_layout(folder):
        return f"{folder} is {other}"
    for candidate in formats:
        for file in candidate.annotations(folder)[:1]:
            fields = ", ".join(next(candidate.rows(folder)).fields)
            needed = ", ".join(candidate.first_row_fields)
            return f"{file} starts with the fields {fields}, but that of {candidate.title} has {needed}. Correct it."
    needs = "; ".join(f"{candidate.title}: {' or '.join(candidate.annotation_files)}" for candidate in formats)
    return f"{folder} has no annotation file that is known. The sets and their files: {needs}."
