"""Exact search of a folder of images by sentence."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from torch import nn

from dataset_scripts.common.images import IMAGE_SUFFIXES, ImageError, decode_image, open_image, read_image_file
from modeling_prompt_clip.processing_prompt_clip import PromptCLIPProcessor, clean_caption
from modeling_prompt_clip.retrieval.encoding import encode_captions, encode_images, scores_of

__all__ = [
    "FolderSearcher",
    "SearchHit",
    "check_query",
    "describe_left_out",
    "list_images",
    "read_image",
    "search_folder",
]

# Files that systems put beside pictures.
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
_NAMES_SHOWN = 3

OnBadImage = Literal["error", "skip"]


@dataclass(frozen=True)
class SearchHit:
    """One answer to a sentence."""

    path: Path  # the image
    score: float  # cosine of sentence and image, in -1..1; comparable within one query, not a probability
    rank: int  # place in the answer, from 1


class FolderSearcher:
    """Encode a folder of images once, then answer any number of sentences.

    `paths` are the images found, `skipped` unreadable ones, `faults` what is wrong with these, `left_out` the other
    files by kind, `embeds` `[paths, projection_dim]` unit vectors.

    Args:
        model: a PromptCLIP, a plain CLIP, or a PEFT model of one.
        processor: the model's own.
        folder: searched recursively for images (`IMAGE_SUFFIXES`), in the order of their paths.
        batch_size: images per forward pass.
        on_bad_image: `"error"` stops at an unreadable image, `"skip"` leaves it out.
        progress: show a bar on stderr when encoding takes more than two seconds.

    Raises ValueError: no readable image in the folder, an unreadable image, an unknown `on_bad_image`; OSError: the
    folder does not exist.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: PromptCLIPProcessor,
        folder: str | Path,
        *,
        batch_size: int = 64,
        on_bad_image: OnBadImage = "error",
        progress: bool = True,
    ) -> None:
        if on_bad_image not in ("error", "skip"):
            raise ValueError(f"on_bad_image={on_bad_image!r} is unknown; use 'error' or 'skip'")
        self.model = model
        self.processor = processor
        self.paths: list[Path] = []
        self.skipped: list[Path] = []
        self.faults: list[str] = []
        found, self.left_out = _survey(folder)
        self.embeds = encode_images(
            model, processor, self._read(found, on_bad_image), batch_size, progress, total=len(found)
        )

    def search(self, sentence: str, top: int = 10) -> list[SearchHit]:
        """Return the `top` images for a sentence, best first.

        Images of equal score come in the order of their paths.

        Raises ValueError: a blank sentence, or `top` below 1.
        """
        check_query(sentence, top)
        query = encode_captions(self.model, self.processor, [sentence], progress=False)[0]
        best = scores_of(query, self.embeds).sort(descending=True, stable=True)
        ranked = zip(best.values[:top].tolist(), best.indices[:top].tolist(), strict=True)
        return [SearchHit(self.paths[row], score, rank) for rank, (score, row) in enumerate(ranked, start=1)]

    def _read(self, paths: list[Path], on_bad_image: OnBadImage) -> Iterator[Image.Image]:
        """Yield readable images, noting them in `paths`, others in `skipped`."""
        for path in paths:
            try:
                image = read_image(path)
            except ValueError as error:
                if on_bad_image == "error":
                    raise ValueError(f"{error} To leave such images out: --on_bad_image skip.") from error
                self.skipped.append(path)
                self.faults.append(str(error))
            else:
                self.paths.append(path)
                yield image
        if not self.paths:
            raise ValueError(
                f"none of the {len(paths)} images can be read, beginning with {paths[0]}: {self.faults[0]}"
            )


def search_folder(
    model: nn.Module,
    processor: PromptCLIPProcessor,
    folder: str | Path,
    query: str,
    *,
    top: int = 10,
    batch_size: int = 64,
    on_bad_image: OnBadImage = "error",
) -> list[SearchHit]:
    """Search a folder for one sentence; see `FolderSearcher`.

    Raises ValueError, OSError: as `FolderSearcher`; a bad query is refused before anything is encoded.
    """
    check_query(query, top)
    searcher = FolderSearcher(model, processor, folder, batch_size=batch_size, on_bad_image=on_bad_image)
    return searcher.search(query, top)


def check_query(sentence: str, top: int) -> None:
    """Raise ValueError for a blank sentence or `top` below 1."""
    if not clean_caption(sentence):
        raise ValueError(f"the query {sentence!r} is blank; describe a person in a sentence")
    if top < 1:
        raise ValueError(f"top={top} must be at least 1")


def list_images(folder: str | Path) -> list[Path]:
    """Images in a folder and its subfolders, sorted by path.

    Raises NotADirectoryError: there is no such folder; ValueError: it holds no image.
    """
    return _survey(folder)[0]


def describe_left_out(left_out: dict[str, list[Path]]) -> str:
    """Count the files that a search leaves out, by kind, with the first names; "" if there are none."""
    kinds = []
    for kind, paths in left_out.items():
        names = ", ".join(path.name for path in paths[:_NAMES_SHOWN]) + ", ..." * (len(paths) > _NAMES_SHOWN)
        kinds.append(f"{len(paths):,} {kind} ({names})")
    return "; ".join(kinds)


def _survey(folder: str | Path) -> tuple[list[Path], dict[str, list[Path]]]:
    """Images of a folder, and its other files by kind, all sorted."""
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"gallery {folder} is not a folder; give a folder of images")
    images: list[Path] = []
    left_out: dict[str, list[Path]] = {}

    def note_unreadable(error: OSError) -> None:
        left_out.setdefault(f"folder that cannot be read: {error.strerror}", []).append(Path(error.filename))

    for place, folders, names in os.walk(folder, onerror=note_unreadable):
        paths = [Path(place, name) for name in names]
        paths += [path for name in folders if (path := Path(place, name)).is_symlink()]
        for path in paths:
            kind = _why_left_out(path)
            (left_out.setdefault(kind, []) if kind else images).append(path)
    left_out = {kind: sorted(left_out[kind]) for kind in sorted(left_out)}
    if not images:
        rest = f"; it holds {describe_left_out(left_out)}" if left_out else ""
        raise ValueError(f"gallery {folder} holds no image that ends in {', '.join(sorted(IMAGE_SUFFIXES))}{rest}")
    return sorted(images), left_out


def _why_left_out(path: Path) -> str:
    """The kind of a file that is no image by its name; "" for an image."""
    if path.name.startswith(".") or path.name.lower() in _SYSTEM_FILES:
        return "hidden or of the system"
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        return "link to a folder" if path.is_dir() else suffix or "without an extension"
    if path.is_file():
        return ""
    return "link that leads to no file" if path.is_symlink() else "no regular file"


def read_image(path: Path) -> Image.Image:
    """Read an image file as data sets do; see `dataset_scripts.common.images`.

    Raises ValueError: it cannot be used.
    """
    try:
        return decode_image(open_image(read_image_file(path), path), path)
    except ImageError as error:
        raise ValueError(str(error)) from error
