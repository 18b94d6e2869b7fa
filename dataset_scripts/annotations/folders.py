"""Find a data set's folder, or say what is there instead."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dataset_scripts.annotations.other_layouts import describe_other_layout
from dataset_scripts.common.text.suggest import did_you_mean

__all__ = ["find_data_folder", "near_folder"]

_NAMES_SHOWN = 8
_IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs", "photos", "pictures"})


def find_data_folder(
    data_dir: str | Path | None,
    dataset: str,
    annotation_files: Sequence[str],
    image_folder: str,
    known_files: Mapping[str, str],
    find_annotations: Callable[[Path], Sequence[Path]],
) -> Path:
    """Return the absolute path of `data_dir` if it holds annotation and images.

    Args:
        data_dir: as the user gave it; `~` is expanded.
        dataset: name of the data set, for messages.
        annotation_files: names or glob patterns of the annotation, for messages.
        image_folder: name of the image folder; "" for `data_dir` itself.
        known_files: file often found in place of the annotation -> what it lacks.
        find_annotations: lists the annotation files in a folder; at least one is required.

    Raises:
        ValueError: `data_dir` is None.
        FileNotFoundError: the folder, the annotation or the image folder is missing.
    """
    annotation = " or ".join(annotation_files)
    layout = f"a folder with {annotation}" + (f" and {image_folder}/" if image_folder else "")
    if data_dir is None:
        raise ValueError(f"{dataset} needs data_dir, but it is None. Pass {layout}.")
    folder = Path(data_dir).expanduser().absolute()
    if not folder.is_dir():
        state = "is a file" if folder.is_file() else "does not exist"
        raise FileNotFoundError(f"data_dir {folder} {state}. {dataset} needs {layout}.")
    if not find_annotations(folder):
        raise FileNotFoundError(_missing_annotation(folder, dataset, annotation_files, known_files, find_annotations))
    if not (folder / image_folder).is_dir():
        if near := near_folder(folder, image_folder):
            raise FileNotFoundError(f"{folder} has no folder {image_folder}/, but {near}/. Rename it.")
        raise FileNotFoundError(
            f"{folder} has {annotation} but no folder {image_folder}/ ({_contents(folder)}). "
            f"Put the images of {dataset} there."
        )
    return folder


def near_folder(folder: Path, name: str) -> str | None:
    """Return the folder in `folder` that holds the images in place of the missing `name`; None without one."""
    known = _IMAGE_FOLDERS if name.casefold() in _IMAGE_FOLDERS else {name.casefold()}
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name.casefold() in known)
    return found[0] if found else None


def _missing_annotation(
    folder: Path,
    dataset: str,
    annotation_files: Sequence[str],
    known_files: Mapping[str, str],
    find_annotations: Callable[[Path], Sequence[Path]],
) -> str:
    message = f"{dataset} needs {' or '.join(annotation_files)}, which is not in {folder} ({_contents(folder)})."
    entries = sorted(folder.iterdir())
    for entry in entries:
        if entry.name in known_files:
            return f"{message} {known_files[entry.name]}"
    for nearby in [folder.parent, *filter(Path.is_dir, entries)]:
        if find_annotations(nearby):
            return f"{message} It is in {nearby}: pass that as data_dir."
    if other := describe_other_layout(folder):
        return f"{message} The folder is {other}"
    names = [entry.name for entry in entries]
    return f"{message}{did_you_mean(annotation_files[0], names) or ' Copy the file from the original archive.'}"


def _contents(folder: Path) -> str:
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    if not names:
        return "the folder is empty"
    rest = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"the folder holds {', '.join(names[:_NAMES_SHOWN])}{rest}"
