"""Recognise annotated folders of other programs, which are not read."""

import json
from pathlib import Path

__all__ = ["describe_other_layout"]

_HEAD = 1 << 16


def describe_other_layout(folder: Path) -> str:
    """Say what a folder is and how to turn it into one that is read; "" if unknown."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.name[0] != ".")
    if {"dataset_dict.json", "state.json"} & set(names):
        return (
            "a data set that save_to_disk wrote. Write each of its splits as Parquet: "
            "datasets.load_from_disk(FOLDER)['train'].to_parquet('NEW/train.parquet')"
        )
    if tar := _first(names, ".tar", ".tar.gz", ".tgz"):
        return (
            f"archives such as {tar}, as webdataset reads them. Unpack them, and list the images in annotations.jsonl."
        )
    if packed := _first(names, ".gz", ".zip", ".xz", ".zst", ".7z", ".bz2"):
        return f"packed: it has {packed}. Unpack it."
    if sheet := _first(names, ".xlsx", ".xls", ".ods"):
        return f"one with a spreadsheet, {sheet}. Save the sheet as CSV in UTF-8: annotations.csv."
    for ending in (".jsonl", ".csv", ".tsv"):
        if near := _first(names, ending, f"{ending}.txt", *((".ndjson",) if ending == ".jsonl" else ())):
            return f"one with {near}, a name that is not read. Rename it to annotations{ending}."
    for name in names:
        if name.endswith(".json") and (folder / name).is_file() and _is_coco(folder / name):
            return (
                f"a set in COCO's form ({name} has images and annotations). Write one object a line into "
                "annotations.jsonl: image, person_id, caption."
            )
    return ""


def _first(names: list[str], *endings: str) -> str:
    return next((name for name in names if name.lower().endswith(endings)), "")


def _is_coco(file: Path) -> bool:
    with open(file, encoding="utf-8", errors="replace") as stream:
        head = stream.read(_HEAD)
    if not head.lstrip().startswith("{"):
        return False
    try:
        return {"images", "annotations"} <= json.loads(head).keys()
    except (ValueError, RecursionError):  # longer than its head
        return '"images"' in head or '"annotations"' in head
