"""LUPerson-MLLM, a million images with captions by two language models, for pre-training."""

from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from dataset_scripts.annotations.row_files import read_json_object
from dataset_scripts.annotations.rows import AnnotationRow
from dataset_scripts.formats.base import AnnotationFormat

__all__ = ["LUPersonMllm"]

_FILES = ("Td-qwen.json", "Td-shikra.json", "Ts-qwen.json", "Ts-shikra.json")
# What is left where a model copied its template instead of filling it in, or wrote its own mark-up.
_BROKEN_MARKS = ("description]", "<")


class _Entry(NamedTuple):
    """One file's caption of an image."""

    file: int
    index: int
    image: str
    caption: object


class LUPersonMllm(AnnotationFormat):
    """LUPerson-MLLM: images of LUPerson, up to four captions each by the models Qwen and Shikra.

    Layout: `LUPerson-MLLM/` with all images, and four files in `caption/`, `captions/` or the folder itself:
    `Ts-qwen.json`, `Td-qwen.json`, `Ts-shikra.json`, `Td-shikra.json` (static and dynamic instruction). Each is an
    object `{path: caption}`; the paths are those of the authors' machines, and only their last part, the name of the
    image, counts.

    The authors speak of 1.0 million images; exact counts are not known. The set has neither splits nor persons: each
    image counts as a person of its own. It tells no cameras.

    The four files are read side by side, and an image is handed out when all have named it: what is in memory is what
    the files are out of step, next to nothing for files in the same order, all captions at worst. A broken caption
    (with `description]` or `<` in it) is replaced by a sound one of the static files, as in the authors' loader; where
    there is none, it stays.

    Terms: none seen with the captions; LUPerson's images are cut from public videos: read both at the source. This
    package ships and downloads nothing of it.
    Source: Tan et al., "Harnessing the Power of MLLMs for Transferable Text-to-Image Person ReID", CVPR 2024.
    """

    name = "luperson_mllm"
    title = "LUPerson-MLLM"
    annotation_files = ("caption/T[sd]-*.json", "captions/T[sd]-*.json", "T[sd]-*.json")
    image_folder = "LUPerson-MLLM"
    split_field = None
    image_field = "image"
    identity_per_image = True
    homepage = "https://github.com/WentaoTan/MLLM4Text-ReID"
    terms = "None named with the captions; read those of LUPerson at its source"
    citation = """@inproceedings{tan2024harnessing,
  title={Harnessing the Power of MLLMs for Transferable Text-to-Image Person ReID},
  author={Tan, Wentao and Ding, Changxing and Jiang, Jiayu and Wang, Fei and Zhan, Yibing and Tao, Dapeng},
  booktitle={IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year={2024}
}"""

    def find(self, data_dir: str | Path | None) -> Path:
        """Return the data folder; raise FileNotFoundError if one of the four files is missing."""
        folder = super().find(data_dir)
        present = self.annotations(folder)
        missing = sorted({*_FILES} - {file.name for file in present})
        if missing:
            raise FileNotFoundError(
                f"{present[0].parent} lacks {', '.join(missing)}. {self.title} has four annotation files; add them."
            )
        return folder

    def rows(self, folder: Path) -> Iterator[AnnotationRow]:
        """Yield one row per image with its `captions`; an invalid caption gets its own row.

        Raises AnnotationError for a damaged file, OSError for an unreadable one.
        """
        files = self.annotations(folder)
        static = {number for number, file in enumerate(files) if file.name.startswith("Ts-")}
        for number, entries in enumerate(_by_image(files)):
            first = entries[0]
            fields = {"image": first.image, "captions": _without_broken(entries, static)}
            yield AnnotationRow(files[first.file], first.index, fields, number)


def _by_image(files: Sequence[Path]) -> Iterator[list[_Entry]]:
    """Yield the entries of each image once every file has given one; incomplete images last."""
    waiting: dict[str, list[_Entry]] = {}
    for step in zip_longest(*(_entries(number, file) for number, file in enumerate(files))):
        for entry in filter(None, step):
            if not isinstance(entry.caption, str) or not entry.caption.strip():
                yield [entry]
                continue
            entries = waiting.setdefault(entry.image, [])
            entries.append(entry)
            if len({one.file for one in entries}) == len(files):
                yield waiting.pop(entry.image)
    yield from waiting.values()


def _entries(number: int, file: Path) -> Iterator[_Entry]:
    for index, (path, caption) in enumerate(read_json_object(file)):
        yield _Entry(number, index, path.rpartition("/")[2], caption)


def _without_broken(entries: Sequence[_Entry], static: Collection[int]) -> list[object]:
    """Return distinct captions, broken ones replaced by the first sound static one."""
    if len(entries) == 1:
        return [entries[0].caption]
    in_order = sorted(entries)
    sound = next((entry.caption for entry in in_order if entry.file in static and not _is_broken(entry)), None)
    return list(dict.fromkeys(sound if sound and _is_broken(entry) else entry.caption for entry in in_order))


def _is_broken(entry: _Entry) -> bool:
    return any(mark in entry.caption for mark in _BROKEN_MARKS)
