"""`conversion.json`: what was converted, how, and what each shard must hold.

Written before the first shard and after each one, so a killed conversion resumes, and an edited or partly copied
folder is noticed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import datasets

from dataset_scripts.common.files import replacing
from dataset_scripts.common.text.documents import read_json

__all__ = ["MANIFEST", "DataSource", "Manifest", "Settings", "ShardRecord", "SplitRecord"]

MANIFEST = "conversion.json"
"""Name of the file in the folder of a conversion."""

_FORMAT_VERSION = 1
_SHARD = re.compile(r"data/[\w.-]+\.parquet", re.ASCII)
# Terms of use, as the sets state them, that let anybody publish a copy -> the Hub's name of the licence.
_OPEN_LICENCES = {"Apache-2.0": "apache-2.0"}


@dataclass(frozen=True)
class DataSource:
    """Facts about the source. No path, since they are published with the data."""

    name: str  # as `load_person_search` takes it
    description: str = ""  # one paragraph
    terms: str = ""  # terms, homepage, citation: of the set; "" if unknown
    homepage: str = ""
    citation: str = ""

    @classmethod
    def from_info(cls, name: str, info: datasets.DatasetInfo) -> DataSource:
        """Take the facts from a loaded split's `info`; the description's first paragraph."""
        description = " ".join((info.description or "").strip().partition("\n\n")[0].split())
        return cls(name, description, info.license or "", info.homepage or "", info.citation or "")

    def write_info(self, info: datasets.DatasetInfo) -> None:
        """Write the facts back into `info`."""
        info.dataset_name, info.description = self.name, self.description
        info.license, info.homepage, info.citation = self.terms, self.homepage, self.citation

    @property
    def open_licence(self) -> str | None:
        """The Hub's name of a licence that lets anybody publish; None otherwise."""
        return _OPEN_LICENCES.get(self.terms)


@dataclass(frozen=True)
class Settings:
    """Settings that determine the bytes of the shards, besides the rows."""

    image_size: tuple[int, int] | None  # height and width in pixels after resizing; None for unchanged files
    quality: int | None  # of resized JPEG files; None for unchanged files
    rows_per_shard: int  # images in each shard but the last of a split
    pyarrow: str  # pyarrow, pillow: versions that wrote the files; `pillow` is None for unchanged files
    pillow: str | None
    # version of the image rules (`dataset_scripts.common.images`) when resizing: 2 since transparency is put on white
    # and 16 bits are scaled; otherwise 1
    reader: int = 1


@dataclass(frozen=True)
class SplitRecord:
    """Counts of a split, and the SHA-256 of its rows without images."""

    persons: int
    images: int
    captions: int
    cameras: int
    annotation_sha256: str


@dataclass(frozen=True)
class ShardRecord:
    """Content of a finished shard."""

    rows: int  # number of images
    file_bytes: int  # size of the file
    table_bytes: int  # size in memory, as Arrow counts it
    sha256: str  # of the file
    source_sha256: str  # of the source's rows (`dataset_scripts.parquet.shards.RowHash`)
    content_sha256: str  # of the stored rows; equal to `source_sha256` unless resized


@dataclass
class Manifest:
    """The content of `conversion.json`."""

    source: DataSource  # facts about the source
    settings: Settings  # how rows are stored
    splits: dict[str, SplitRecord]  # split -> counts, in the source's order
    shards: dict[str, ShardRecord | None]  # path in the folder -> record, in row order; None if unfinished
    complete: bool = False  # all shards are present and verified

    def shards_of(self, split: str) -> dict[str, ShardRecord]:
        """Return one split's shards of a complete conversion, in row order."""
        return {name: record for name, record in self.shards.items() if split_of(name) == split}

    def to_dict(self) -> dict[str, Any]:
        """Return the content as JSON types."""
        return {"format_version": _FORMAT_VERSION, **asdict(self)}

    def write(self, folder: Path) -> None:
        """Write `conversion.json` into `folder`, atomically."""
        with replacing(folder / MANIFEST) as file:
            file.write((json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """Read `conversion.json` in `folder`; None if missing.

        Raises ValueError for a damaged file or another format version, OSError for an unreadable one.
        """
        path = folder / MANIFEST
        try:
            content = read_json(path)
            if content["format_version"] != _FORMAT_VERSION:
                raise ValueError(f"its format_version is {content['format_version']!r}, not {_FORMAT_VERSION}")
            if odd := [name for name in content["shards"] if not _SHARD.fullmatch(name)]:
                raise ValueError(f"it names the shard {odd[0]!r}; shards lie in data/ and end in .parquet")
            found = cls(
                source=DataSource(**content["source"]),
                settings=_settings(content["settings"]),
                splits={name: SplitRecord(**record) for name, record in content["splits"].items()},
                shards={
                    name: None if record is None else ShardRecord(**record)
                    for name, record in content["shards"].items()
                },
                complete=content["complete"],
            )
            _check(found)
            return found
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{path} is no record of a conversion that can be read ({type(error).__name__}: {error}). "
                "Convert again into a new folder."
            ) from error

    def differences(self, other: Manifest) -> list[str]:
        """Describe how source, settings and rows differ from the `other` conversion."""
        found = _differing_fields("", self.settings, other.settings)
        if self.source.name != other.source.name:
            found.append(f"the source was {self.source.name!r} and is now {other.source.name!r}")
        for name in dict.fromkeys([*self.splits, *other.splits]):
            if name not in other.splits or name not in self.splits:
                where = "in the folder" if name in self.splits else "in the source"
                found.append(f"the {name} split is only {where}")
            else:
                found += _differing_fields(f"{name} ", self.splits[name], other.splits[name])
        return found


def split_of(shard: str) -> str:
    """Return the split of a shard's name: `data/train-00000-of-00002.parquet` -> `train`."""
    return shard.rpartition("/")[2].partition("-")[0]


def _check(manifest: Manifest) -> None:
    """Refuse a record whose parts contradict each other."""
    records = [manifest.source, *manifest.splits.values(), *filter(None, manifest.shards.values())]
    for record in records:
        for field in fields(record):
            value, kind = getattr(record, field.name), {"str": str, "int": int}[field.type]
            if type(value) is not kind:
                raise ValueError(f"its {field.name} is {value!r}, and no {kind.__name__}")
    if not isinstance(manifest.complete, bool):
        raise ValueError(f"its complete is {manifest.complete!r}, neither true nor false")
    of_shards = {split_of(name) for name in manifest.shards}
    if different := sorted(of_shards.symmetric_difference(manifest.splits)):
        raise ValueError(f"its splits and its shards do not agree on {different[0]!r}")
    if manifest.complete and None in manifest.shards.values():
        raise ValueError("it is complete and lacks a shard")


def _settings(content: Mapping[str, Any]) -> Settings:
    size = content["image_size"]
    return Settings(**{**content, "image_size": tuple(size) if size else None})


def _differing_fields(label: str, folder: object, wanted: object) -> list[str]:
    pairs = [(field.name, getattr(folder, field.name), getattr(wanted, field.name)) for field in fields(folder)]
    return [f"{label}{name} was {old!r} and is now {new!r}" for name, old, new in pairs if old != new]
