"""Select the files of a folder to upload: listed names, no links to elsewhere."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = ["Selection", "check_link", "copy_files", "select_files"]

TOP = PurePosixPath()


@dataclass(frozen=True)
class Selection:
    """What of a folder is uploaded, as paths in it with `/`.

    Attributes:
        files: go up.
        left_out: stay here; a folder of which nothing goes up ends in `/`.
    """

    files: tuple[str, ...]
    left_out: tuple[str, ...]


def select_files(folder: Path, listed: Callable[[str], bool], *, within: Path | None = None) -> Selection:
    """Sort the content of a folder by name into what may be uploaded and what stays.

    Args:
        folder: what is to be uploaded.
        listed: whether a path in it, with `/`, may go up.
        within: the folder that no link may leave, which holds `folder`; by default `folder` itself.

    Raises:
        ValueError: a link leads out of `within`, or to a file that may not go up; or what is listed is no file.
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
    """Copy the selected files into a folder, which is made; links become the files that they point at.

    Raises OSError: a file cannot be read or written.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in selection.files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target / name)


def check_link(
    path: Path, within: Path, listed: Callable[[str], bool] | None = None, place: PurePosixPath = TOP
) -> None:
    """Refuse a link that leads out of a folder, or to a file that may not be uploaded.

    Args:
        path: of the link; anything else passes.
        within: the folder that it must not leave.
        listed: whether a path may be uploaded; without it any file of the folder may be the target.
        place: the folder of the link in such a path.

    Raises ValueError: the link does; the message names it.
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
