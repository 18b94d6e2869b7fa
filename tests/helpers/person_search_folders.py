"""The folder of every person-search set, written by code: exact schema, known flaws, tiny drawn pictures.

    folder = make_folder("icfg_pedes", tmp_path / "ICFG-PEDES")

`FOLDERS` names them all: each format of `dataset_scripts.formats` under its own name, and the forms that a user's own
data may take (`custom_...`, all of the format `custom`). Each loads without an error. In `custom` and `custom_csv`
there is nothing to warn of either: no caption, picture or row twice, no gap in the person ids, every split there.
"""

import csv
import io
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

__all__ = ["FOLDERS", "FolderContent", "draw_picture", "make_folder"]

COLOURS = ("red", "green", "blue", "black", "white", "grey", "yellow", "brown", "pink", "orange", "purple", "beige")
THINGS = ("backpack", "umbrella", "suitcase", "phone", "handbag", "bottle", "book", "camera", "basket", "scarf")


@dataclass(frozen=True)
class FolderContent:
    """What a folder holds.

    Attributes:
        format: name in `dataset_scripts.formats.FORMATS`.
        texts: annotation file below the folder -> its text.
        images: image files below the folder, in the order of the rows.
    """

    format: str
    texts: Mapping[str, str]
    images: tuple[str, ...]


def make_folder(name: str, path: Path) -> Path:
    """Write the folder `name` of `FOLDERS` at `path`; return `path`."""
    content = FOLDERS[name]()
    for file, text in content.texts.items():
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_bytes(text.encode())
    for image in content.images:
        draw_picture(path / image, f"{content.format}/{image}")
    return path


def draw_picture(path: Path, seed: str) -> None:
    """Draws 32x64 pixels of coloured squares, the same for the same `seed`; no two seeds look alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    squares = np.random.default_rng(zlib.crc32(seed.encode())).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    Image.fromarray(squares).resize((32, 64), Image.Resampling.NEAREST).save(path)


def _caption(person: int, view: int, words: str = "") -> str:
    """A sentence that no other person has: twelve colours by ten things."""
    colour, thing = COLOURS[person % 12], THINGS[person // 12 % 10]
    return f"The person wears a {colour} coat and carries a {thing}{words}. It is view {view} of this person."


def _cuhk_pedes() -> FolderContent:
    """Person 4 has one image, one image has four captions, one row lacks the tokens."""
    sources = ("cam_a", "cam_b", "CUHK01", "CUHK03", "Market", "test_query", "train_query")
    splits = {1: "train", 2: "train", 3: "train", 4: "train", 5: "val", 6: "val", 7: "test", 8: "test"}
    rows = []
    for person, split in splits.items():
        for _ in range(1 if person == 4 else 2):
            number = len(rows)
            captions = [_caption(person, 2 * number), _caption(person, 2 * number + 1)]
            rows.append(
                {
                    "split": split,
                    "captions": captions,
                    "file_path": f"{sources[number % 7]}/p{person}_s{number}.jpg",
                    "processed_tokens": [caption.lower().split() for caption in captions],
                    "id": person,
                }
            )
    rows[2]["captions"] += ["A third sentence about person two.", "A fourth sentence about person two."]
    del rows[3]["processed_tokens"]
    return _json_set("cuhk_pedes", "reid_raw.json", rows, "imgs/", "file_path")


def _icfg_pedes() -> FolderContent:
    """The folders train/ and test/ are those of MSMT17 and cross the splits; one caption an image."""
    rows = []
    for person in range(9):
        for view in range(2):
            caption, number = _caption(person, view), len(rows)
            storage = ("train", "test")[number % 2]
            name = f"{person:04}_{view:03}_{1 + number % 15:02}_0303morning_{number:04}_0.jpg"
            rows.append(
                {
                    "split": "train" if person < 6 else "test",
                    "captions": [caption],
                    "file_path": f"{storage}/{person:04}/{name}",
                    "processed_tokens": [caption.lower().split()],
                    "id": person,
                }
            )
    return _json_set("icfg_pedes", "ICFG-PEDES.json", rows, "imgs/", "file_path")


def _rstp_reid() -> FolderContent:
    """Another path field; no space after full stops; five images a person."""
    rows = [
        {
            "id": person,
            "img_path": f"{person:04}_c{1 + (5 * person + view) % 15}_{view:04}.jpg",
            "captions": [_caption(person, 2 * view).replace(". ", "."), _caption(person, 2 * view + 1)],
            "split": "train" if person < 4 else ("val", "test")[person - 4],
        }
        for person in range(6)
        for view in range(5)
    ]
    return _json_set("rstp_reid", "data_captions.json", rows, "imgs/", "img_path")


def _ufine6926() -> FolderContent:
    """Captions of some eighty words; paths start at the data folder."""
    words = ", and the hat, the shirt, the trousers and the shoes are plain" * 6
    rows = [
        {
            "split": "train" if person < 5 else "test",
            "id": person,
            "file_path": f"images/{2 * person + view - 1}.jpg",
            "captions": [_caption(person, 2 * view, words), _caption(person, 2 * view + 1, words)],
        }
        for person in range(1, 8)
        for view in range(2)
    ]
    return _json_set("ufine6926", "UFine6926_Annotations.json", rows, "", "file_path")


def _synth_pedes() -> FolderContent:
    """No splits; two or three captions; attributes and a caption from a template besides."""
    rows = [
        {
            "id": person,
            "file_path": f"Part{1 + person % 11}/{person}/{view}.jpg",
            "attributes": ["man,black hair,black shirt,pink shorts,black shoes,unknown"],
            "captions": [_caption(person, 3 * view + number) for number in range(2 + person % 2)],
            "prompt_caption": ["A man with black hair is wearing a black shirt with pink shorts."],
        }
        for person in range(1, 7)
        for view in range(2)
    ]
    return _json_set("synth_pedes", "synthpedes_dataset.json", rows, "", "file_path")


def _mals() -> FolderContent:
    """Two of the many files; no persons; labels with -1 where an attribute is not known."""
    shards = {"g_4x_attrs.json": "4x", "g_c_g_a_0_attrs.json": "c_g_a_0"}
    texts, images = {}, []
    for file, shard in shards.items():
        rows = [
            {
                "image": f"gene_crop/{shard}/{number}.jpg",
                "caption": _caption(len(images) + number, 0),
                "image_id": f"{shard}_{number}",
                "label": [1, 0, -1] * 9,
            }
            for number in range(5)
        ]
        texts[f"gene_attrs/{file}"] = json.dumps(rows)
        images += [row["image"] for row in rows]
    return FolderContent("mals", texts, tuple(images))


def _luperson_mllm() -> FolderContent:
    """Four files whose paths share only the file name, in other orders; two broken captions, one image left out."""
    models, images = ("qwen", "shikra"), [f"{number:06}.jpg" for number in range(6)]
    texts = {}
    for kind in ("Ts", "Td"):
        for model in models:
            captions = {
                f"/data/{model}/part{number % 2}/{image}": _caption(number, 0, f" as {kind} {model} says")
                for number, image in enumerate(images)
            }
            if (kind, model) == ("Td", "qwen"):
                captions["/data/qwen/part1/000003.jpg"] = "Wearing [clothing description], the man walks."
                del captions["/data/qwen/part0/000004.jpg"]
            if (kind, model) == ("Td", "shikra"):
                captions["/data/shikra/part1/000005.jpg"] = "<person> in a coat."
                captions = dict(reversed(captions.items()))
            texts[f"caption/{kind}-{model}.json"] = json.dumps(captions)
    return FolderContent("luperson_mllm", texts, tuple(f"LUPerson-MLLM/{image}" for image in images))


def _custom_rows(persons: int = 8) -> list[dict]:
    """Two images a person, every field that a user's own data may have."""
    return [
        {
            "image": f"images/{person}_{view}.jpg",
            "person_id": person,
            "caption": _caption(person, view),
            "camera": f"gate {view}",
            "split": "train" if person < persons - 4 else ("val", "test")[person % 2],
        }
        for person in range(persons)
        for view in range(2)
    ]


def _custom() -> FolderContent:
    """JSON lines with lists of captions, cameras and splits; a blank line."""
    rows = _custom_rows()
    images = [row["image"] for row in rows]
    for row in rows:
        row["captions"] = [row.pop("caption"), _caption(row["person_id"], 7)]
    text = "\n".join(map(json.dumps, rows)) + "\n\n"
    return FolderContent("custom", {"annotations.jsonl": text}, tuple(images))


def _custom_names() -> FolderContent:
    """JSON lines with names of persons; neither splits nor cameras; one image in two rows."""
    rows = [
        {"image": row["image"], "person_id": f"track_{97 * row['person_id'] % 31:04}", "caption": row["caption"]}
        for row in _custom_rows(10)
    ]
    rows.append({**rows[0], "caption": "The same image is described once more."})
    images = tuple(row["image"] for row in rows[:-1])
    return FolderContent("custom", {"people.jsonl": "\n".join(map(json.dumps, rows))}, images)


def _custom_csv() -> FolderContent:
    """Commas, and captions with commas in quotes."""
    rows = _custom_rows()
    for row in rows:
        row["caption"] = row["caption"].replace(" and", ", and")
    return FolderContent("custom", {"annotations.csv": _csv_text(rows, ",")}, tuple(row["image"] for row in rows))


def _custom_excel() -> FolderContent:
    """As a spreadsheet writes it: a byte-order mark, semicolons, CRLF; no splits; two rows an image."""
    rows = []
    for view, row in enumerate(_custom_rows(10)):
        person, image = row["person_id"], row["image"]
        for part in range(2):
            rows.append({"image": image, "person_id": person + 1, "caption": _caption(person, 2 * view + part)})
    images = tuple(dict.fromkeys(row["image"] for row in rows))
    return FolderContent("custom", {"people.csv": "\ufeff" + _csv_text(rows, ";")}, images)


def _custom_imagefolder() -> FolderContent:
    """Hugging Face imagefolder: `metadata.jsonl` beside the images."""
    rows = [{"file_name": Path(row.pop("image")).name, **row} for row in _custom_rows()]
    text = "\n".join(map(json.dumps, rows))
    return FolderContent("custom", {"metadata.jsonl": text}, tuple(row["file_name"] for row in rows))


def _custom_imagefolder_splits() -> FolderContent:
    """Hugging Face imagefolder with a folder a split, each with its `metadata.csv`."""
    by_folder: dict[str, list[dict]] = {"train": [], "validation": [], "test": []}
    folders = {"train": "train", "val": "validation", "test": "test"}
    for row in _custom_rows():
        rows = by_folder[folders[row.pop("split")]]
        rows.append({"file_name": Path(row.pop("image")).name, **row})
    texts = {f"{folder}/metadata.csv": _csv_text(rows, ",") for folder, rows in by_folder.items()}
    images = [f"{folder}/{row['file_name']}" for folder, rows in by_folder.items() for row in rows]
    return FolderContent("custom", texts, tuple(images))


def _json_set(name: str, file: str, rows: list[dict], image_folder: str, image_field: str) -> FolderContent:
    return FolderContent(name, {file: json.dumps(rows)}, tuple(image_folder + row[image_field] for row in rows))


def _csv_text(rows: list[dict], delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


FOLDERS: Mapping[str, Callable[[], FolderContent]] = MappingProxyType(
    {
        "cuhk_pedes": _cuhk_pedes,
        "icfg_pedes": _icfg_pedes,
        "rstp_reid": _rstp_reid,
        "ufine6926": _ufine6926,
        "synth_pedes": _synth_pedes,
        "mals": _mals,
        "luperson_mllm": _luperson_mllm,
        "custom": _custom,
        "custom_names": _custom_names,
        "custom_csv": _custom_csv,
        "custom_excel": _custom_excel,
        "custom_imagefolder": _custom_imagefolder,
        "custom_imagefolder_splits": _custom_imagefolder_splits,
    }
)
