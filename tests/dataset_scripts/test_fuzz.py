"""Two hundred damaged copies of a good folder: each is reported or refused by name, and none hangs or loses a row."""

import csv
import io
import json
import os
import random
import re
import shutil
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_scripts import load_person_search, skipped_images
from dataset_scripts.commands.check import main

CASES = 200
SECONDS = 20
FORMS = {"reid_raw.json": "cuhk_pedes", "annotations.jsonl": "custom", "annotations.csv": "custom"}
TEXTS = ("", " ", "x", "7", "imgs", "train", "A man in a red coat.", "x" * 100_000)
ODD_TEXTS = ("\0", "\ud800", "\u202e\x1b[31m", "../a.jpg", "/etc/passwd", "C:\\a.jpg", "a//./b.jpg")
NUMBERS = (None, True, -1, 1.5, 10**30, 2**63, float("nan"), float("inf"))
LISTS = ([], {}, [None], ["A man.", 7], [["A man."]], {"a": {"b": []}}, ["a " * 500])
ODD_VALUES = (*TEXTS, *ODD_TEXTS, *NUMBERS, *LISTS)
PIECES = ("[" * 100_000, '{"a":' * 50_000, "9" * 5000, "1e999", '"id": 1, "split": "train", ', "\0", "\n\n", "]", '"')
OF_NO_ROW = {"not_json", "encoding", "missing_annotation", "missing_folder", "too_few_persons"}
OTHER_NAMES = ("caption_all.json", "REID_RAW.JSON", "notes.txt", "b.jsonl")


class Hangs(BaseException):
    """Raised by the clock; nothing that catches errors catches it."""


@contextmanager
def _within(seconds: int) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hangs(f"more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Folder:
    """Eight images of four persons, and an annotation in one of the forms."""

    def __init__(self, path: Path, annotation: str) -> None:
        self.path = path
        self.annotation = path / annotation
        self.form = FORMS[annotation]
        self.root = path / "imgs" if self.form == "cuhk_pedes" else path
        self.images = [
            self.root / f"cam_{person}" / f"{person}_{view}.png" for person in range(4) for view in range(2)
        ]
        for number, image in enumerate(self.images):
            image.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (20, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(image, ("PNG", "JPEG")[number % 2])
        self.rows = [self._row(number) for number in range(8)]
        self.write()

    def _row(self, number: int) -> dict:
        person, view = divmod(number, 2)
        path = self.images[number].relative_to(self.root).as_posix()
        split, captions = ("train", "train", "val", "test")[person], [f"A man in {word}." for word in ("a hat", "red")]
        if self.form == "cuhk_pedes":
            return {"split": split, "captions": captions, "file_path": path, "id": person}
        row = {"image": path, "person_id": person, "split": split, "camera": f"c{view}"}
        return row | ({"caption": captions[0]} if self.annotation.suffix == ".csv" else {"captions": captions})

    def write(self) -> None:
        if self.annotation.suffix == ".csv":
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, list(dict.fromkeys(name for row in self.rows for name in row)))
            writer.writeheader()
            writer.writerows(self.rows)
            self.annotation.write_text(text.getvalue(), encoding="utf-8", errors="surrogatepass")
        elif self.annotation.suffix == ".jsonl":
            self.annotation.write_text("\n".join(map(json.dumps, self.rows)))
        else:
            self.annotation.write_text(json.dumps(self.rows))


def _changed_bytes(data: bytes, draw: random.Random) -> bytes:
    """Overwrites, cuts out, inserts or cuts off bytes."""
    changed = bytearray(data)
    how = draw.randrange(4)
    place = draw.randrange(len(data)) if data else 0
    if how == 0:
        for _ in range(draw.choice((1, 3, 20)) if data else 0):
            changed[draw.randrange(len(data))] = draw.choice((0, 34, 44, 92, 255, draw.randrange(256)))
    elif how == 1:
        del changed[place : place + draw.choice((1, 5, 60))]
    elif how == 2:
        changed[place:place] = draw.randbytes(draw.choice((1, 5, 60)))
    else:
        del changed[place:]
    return bytes(changed)


def _annotation_bytes(folder: Folder, draw: random.Random) -> None:
    folder.annotation.write_bytes(_changed_bytes(folder.annotation.read_bytes(), draw))


def _annotation_text(folder: Folder, draw: random.Random) -> None:
    """Pieces that parsers stumble over: nesting, digits, keys given twice, NUL, blank lines, other brackets."""
    data = folder.annotation.read_bytes()
    place = draw.choice([0, len(data), draw.randrange(len(data) + 1)])
    folder.annotation.write_bytes(data[:place] + draw.choice(PIECES).encode() + data[place:])


def _encoding(folder: Folder, draw: random.Random) -> None:
    text = folder.annotation.read_text(errors="replace").replace("hat", "café")
    data = text.encode(draw.choice(["latin-1", "utf-16", "utf-32", "utf-8-sig", "cp1252"]), errors="replace")
    folder.annotation.write_bytes(data)


def _value(folder: Folder, draw: random.Random) -> None:
    """Another value, or none, in a field of one row or of all."""
    value = draw.choice(ODD_VALUES)
    objects = [row for row in folder.rows if isinstance(row, dict)]
    field = draw.choice(sorted(objects[0]))
    for row in objects if draw.random() < 0.2 else [draw.choice(objects)]:
        row[field] = value
        if draw.random() < 0.2:
            del row[field]
    folder.write()


def _swapped_values(folder: Folder, draw: random.Random) -> None:
    """The value of one row's field in another row or another field."""
    first, second = draw.choices([row for row in folder.rows if isinstance(row, dict)], k=2)
    field = draw.choice(sorted(first))
    other = draw.choice([field, draw.choice(sorted(second))])
    if field in first and other in second:
        first[field], second[other] = second[other], first[field]
    folder.write()


def _rows(folder: Folder, draw: random.Random) -> None:
    """Rows that are missing, there twice, in another order, or no rows."""
    how = draw.randrange(4)
    if how == 0:
        folder.rows = draw.sample(folder.rows, draw.randrange(len(folder.rows)))
    elif how == 1:
        folder.rows.append(dict(draw.choice(folder.rows)))
    elif how == 2:
        draw.shuffle(folder.rows)
    elif folder.annotation.suffix != ".csv":
        folder.rows.insert(draw.randrange(len(folder.rows)), draw.choice(ODD_VALUES))
    folder.write()


def _image_bytes(folder: Folder, draw: random.Random) -> None:
    for image in draw.sample(folder.images, draw.choice((1, 1, 3))):
        if image.is_file():
            image.write_bytes(_changed_bytes(image.read_bytes(), draw))


def _image_form(folder: Folder, draw: random.Random) -> None:
    """Images of other modes and kinds of files."""
    image = draw.choice(folder.images)
    if not image.is_file():
        return
    how = draw.randrange(6)
    if how == 0:
        image.write_bytes(b"")
    elif how == 1:
        image.write_bytes(draw.choice([b"<html>", b"%!PS-Adobe-3.0 EPSF-3.0", b"\0" * 500, b"\xff\xd8\xff\xd9"]))
    elif how == 2:
        Image.new("I;16", (8, 20), 40_000).save(image, "PNG")
    elif how == 3:
        Image.new(draw.choice(["CMYK", "L", "1"]), (8, 20), 1).save(image, "TIFF")
    elif how == 4:
        shutil.copy(draw.choice([other for other in folder.images if other.is_file()]), f"{image}.copy")
        os.replace(f"{image}.copy", image)
    else:
        exif = Image.Exif()
        exif[0x0112] = draw.choice((0, 3, 6, 99))
        Image.new("RGB", (8, 20)).save(image, "JPEG", exif=exif)


def _image_place(folder: Folder, draw: random.Random) -> None:
    """Something else in the place of an image file or of its folder."""
    place = draw.choice([*folder.images, draw.choice(folder.images).parent, folder.root])
    if not place.exists():
        return
    aside = folder.path.parent / "aside"
    shutil.rmtree(aside, ignore_errors=True)
    place.rename(aside)
    how = draw.randrange(7)
    if how == 0:
        place.mkdir()
    elif how == 1:
        place.symlink_to(place)
    elif how == 2:
        os.mkfifo(place)
    elif how == 3:
        place.symlink_to(aside)
    elif how == 4:
        place.symlink_to(folder.path.parent / "nowhere")
    elif how == 5:
        aside.rename(place.with_name(place.name.upper() + "_"))


def _annotation_place(folder: Folder, draw: random.Random) -> None:
    """The annotation under another name, gone, a folder, a pipe, or with another form beside it."""
    how = draw.randrange(6)
    if how < 4:
        folder.annotation.rename(folder.path / draw.choice(OTHER_NAMES))
    if how == 1:
        folder.annotation.mkdir()
    elif how == 2:
        os.mkfifo(folder.annotation)
    elif how == 3:
        folder.annotation.symlink_to(folder.annotation)
    elif how >= 4:
        (folder.path / draw.choice(sorted(FORMS))).write_text("{}")


# Some leave little to check, so they come seldom.
DAMAGES: tuple[Callable[[Folder, random.Random], None], ...] = (
    *(_annotation_bytes, _annotation_text, _value, _image_bytes) * 3,
    *(_encoding, _swapped_values, _rows, _image_form, _image_place) * 2,
    _annotation_place,
)


@pytest.mark.parametrize("seed", range(CASES))
def test_a_damaged_folder_is_reported_or_refused(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture):
    draw = random.Random(seed)
    folder = Folder(tmp_path / "data", draw.choice(sorted(FORMS)))
    if draw.random() < 0.5:
        folder.form = "auto"
    for damage in draw.sample(DAMAGES, draw.choice((1, 1, 2))):
        if folder.annotation.is_file() and folder.rows:
            damage(folder, draw)
    with _within(SECONDS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = _check(folder, capsys)
        loaded, _, refusal = _load(folder, "error")
        rest, left_out, _ = _load(folder, "skip")
    if answer is None:
        assert loaded is None and rest is None
        return
    # What is called usable loads, what is not does not; the same for the rest of a folder with bad images.
    assert (loaded is not None, rest is not None) == (answer["usable"], answer["usable_with_skip"])
    errors = {problem["kind"] for problem in answer["problems"] if problem["severity"] == "error"}
    if errors and not errors & OF_NO_ROW:
        assert re.search(r"\brow \d", refusal)
    if loaded is not None:
        assert sum(counts["images"] for counts in loaded.values()) == answer["images"]
        if not any(answer["drawn_shares"].values()):
            assert loaded == answer["splits"]
    if rest is not None:
        # No row is lost in silence.
        assert sum(counts["images"] for counts in rest.values()) == answer["good_images"]
        assert answer["good_images"] + len(left_out) == answer["images"]
        assert all(Path(image["file"]).is_file() and image["reason"] for image in left_out)


def _check(folder: Folder, capsys: pytest.CaptureFixture) -> dict | None:
    """The answer of `data check`; None where it says that there is nothing to check."""
    options = ["--format", folder.form, "--decode", "--json"]
    try:
        status = main([str(folder.path), *options])
    except (ValueError, OSError) as error:
        assert str(folder.path) in str(error)
        return None
    answer = json.loads(capsys.readouterr().out)
    assert status == (0 if answer["usable"] else 1)
    for problem in answer["problems"]:
        assert problem["count"] >= len(problem["examples"]) >= 1
        for example in problem["examples"]:
            assert example["text"]
    # The report for people is made as well.
    assert main([str(folder.path), "--format", folder.form]) in (0, 1)
    assert str(folder.path) in capsys.readouterr().out
    return answer


def _load(folder: Folder, on_bad_image: str) -> tuple[dict[str, dict[str, int]] | None, list[dict], str]:
    """Counts of each split, every row read, and what was left out; None and why where the folder is refused."""
    cache = folder.path.parent / f"cache_{on_bad_image}"
    try:
        splits = load_person_search(folder.form, folder.path, None, cache_dir=cache, on_bad_image=on_bad_image)
    except (ValueError, OSError) as error:
        assert str(folder.path) in str(error)
        return None, [], str(error)
    counts = {}
    for name, split in splits.items():
        for row in split:
            assert row["image"].mode == "RGB" and row["captions"]
        captions = sum(map(len, split["captions"]))
        counts[name] = {"persons": len(set(split["person_id"])), "images": len(split), "captions": captions}
    left_out = skipped_images(next(iter(splits.values())))
    assert on_bad_image == "skip" or not left_out
    return counts, left_out, ""


def test_the_damages_are_of_all_sorts():
    """So that the two hundred do not all end at the same place."""
    drawn = Counter()
    for seed in range(CASES):
        draw = random.Random(seed)
        draw.choice(sorted(FORMS))
        draw.random()
        drawn.update(damage.__name__ for damage in draw.sample(DAMAGES, draw.choice((1, 1, 2))))
    assert set(drawn) == {damage.__name__ for damage in DAMAGES} and min(drawn.values()) >= 5
