"""Select the files to upload: listed names, no outside links."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = ["Selection", "check_link", "copy_files", "select_files"]

TOP = PurePosixPath()


@dataclass(frozen=True)
class Selection:
    """Uploaded and omitted paths, relative to the folder, with `/`."""

    files: tuple[str, ...]  # to upload
    left_out: tuple[str, ...]  # not uploaded; a folder without any file to upload ends in `/`


def select_files(folder: Path, listed: Callable[[str], bool], *, within: Path | None = None) -> Selection:
    """Sort a folder's content by name into uploaded and omitted paths.

    Args:
        folder: to upload.
        listed: whether a relative path, with `/`, may be uploaded.
        within: `folder` or a parent that no link may leave; default `folder`.

    Raises:
        ValueError: a link leaves `within` or points to an unlisted file, or a listed path is not a file.
        OSError: the folder cannot be read.
    """
    within = folder if within is None else within
    check_link(folder, within)
    files, left_out = [], []
    for path in _walk(folder):
        name = path.relative_to(folder).as_posix()
        check_link(path, within, listed, PurePosixPath(name).parent)
        if not listed(name):
            left_out.append(name)
        elif not path.is_file():
            raise ValueError(f"{path} is no file, but has the name of one that is uploaded; remove or rename it")
        else:
            files.append(name)
    used = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    return Selection(tuple(files), tuple(dict.fromkeys(_topmost(name, used) for name in left_out)))


def copy_files(folder: Path, target: Path, selection: Selection) -> None:
    """Copy the selected files to `target`, created if missing; follow links.

    Raises OSError: a file cannot be read or written.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in selection.files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target / name)


def check_link(
    path: Path, within: Path, listed: Callable[[str], bool] | None = None, place: PurePosixPath = TOP
) -> None:
    """Refuse a link that leaves `within` or points to an unlisted file.

    Args:
        path: a link; other files pass.
        within: the folder that it must not leave.
        listed: whether a relative path may be uploaded; None allows any target in `within`.
        place: the link's folder, relative.

    Raises ValueError: the link is refused or broken.
    """
    if not path.is_symlink():
        return
    remedy = "Remove the link, or put a copy of what is meant in its place, and push again."
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # the second: a circle of links, up to Python 3.12
        raise ValueError(f"{path} is a link to nothing that can be read. {remedy}") from error
    if not target.is_relative_to(within.resolve()):
        raise ValueError(f"{path} is a link that leaves {within}, and would publish what lies elsewhere. {remedy}")
    if listed is not None and target.is_file() and not listed(str(place / target.name)):
        raise ValueError(f"{path} is a link to {target.name}, which is not among the files that go up. {remedy}")


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        else:
            yield Path(entry.path)


def _topmost(name: str, used: set[str]) -> str:
    for parent in reversed(PurePosixPath(name).parents[:-1]):
        if str(parent) not in used:
            return f"{parent}/"
    return name
