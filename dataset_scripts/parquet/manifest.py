"""`conversion.json`, the record of a conversion: what was converted, how, and what each shard must hold.

It is written before the first shard and after each one, so a conversion that was killed goes on where it stopped, and
a folder that was edited or copied in part is noticed when it is loaded.
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

__all__ = ["MANIFEST", "DataSource", "Manifest", "Settings", "ShardRecord", "SplitRecord"]

MANIFEST = "conversion.json"
"""Name of the file in the folder of a conversion."""

_FORMAT_VERSION = 1
_SHARD = re.compile(r"data/[\w.-]+\.parquet", re.ASCII)
# Terms of use, as the sets state them, that let anybody publish a copy -> the Hub's name of the licence.
_OPEN_LICENCES = {"Apache-2.0": "apache-2.0"}


@dataclass(frozen=True)
class DataSource:
    """Where the rows come from, as the set tells of itself. No path: it would be published with the data.

    Attributes:
        name: as `load_person_search` takes it.
        description: what the set is, one paragraph.
        terms, homepage, citation: of the set; empty where it does not say.
    """

    name: str
    description: str = ""
    terms: str = ""
    homepage: str = ""
    citation: str = ""

    @classmethod
    def from_info(cls, name: str, info: datasets.DatasetInfo) -> DataSource:
        """Takes over what `info` of a loaded split tells; of its description, the first paragraph."""
        description = " ".join((info.description or "").strip().partition("\n\n")[0].split())
        return cls(name, description, info.license or "", info.homepage or "", info.citation or "")

    def write_info(self, info: datasets.DatasetInfo) -> None:
        """Writes into `info` what `from_info` takes from it, and the name."""
        info.dataset_name, info.description = self.name, self.description
        info.license, info.homepage, info.citation = self.terms, self.homepage, self.citation

    @property
    def open_licence(self) -> str | None:
        """The Hub's name of the licence, where it lets anybody publish a copy; None otherwise."""
        return _OPEN_LICENCES.get(self.terms)


@dataclass(frozen=True)
class Settings:
    """What the bytes of the shards depend on, beside the rows.

    Attributes:
        image_size: height and width in pixels to which images were resized; None: files unchanged.
        quality: of the JPEG files made by resizing; None: files unchanged.
        rows_per_shard: images in each shard but the last of a split.
        pyarrow, pillow: versions that wrote the files; `pillow` is None where no image was made.
        reader: version of the rule by which resized images were read (`dataset_scripts.common.images`): 2 since
            transparency lies on white and 16 bits are scaled; 1 before, and where files are unchanged.
    """

    image_size: tuple[int, int] | None
    quality: int | None
    rows_per_shard: int
    pyarrow: str
    pillow: str | None
    reader: int = 1


@dataclass(frozen=True)
class SplitRecord:
    """Size of a split, and the SHA-256 of its rows without their images."""

    persons: int
    images: int
    captions: int
    cameras: int
    annotation_sha256: str


@dataclass(frozen=True)
class ShardRecord:
    """What a finished shard holds.

    Attributes:
        rows: number of images.
        file_bytes: size of the file.
        table_bytes: size of the rows in memory, as Arrow counts.
        sha256: of the file.
        source_sha256: of the rows as the source gave them (`dataset_scripts.parquet.shards.RowHash`).
        content_sha256: of the rows as stored; equal to `source_sha256` where images were not resized.
    """

    rows: int
    file_bytes: int
    table_bytes: int
    sha256: str
    source_sha256: str
    content_sha256: str


@dataclass
class Manifest:
    """The content of `conversion.json`.

    Attributes:
        source: where the rows come from.
        settings: how they were stored.
        splits: split -> its size, in the order of the source.
        shards: path in the folder -> record, in the order of the rows; None for a shard that is not finished.
        complete: all shards are there and were verified.
    """

    source: DataSource
    settings: Settings
    splits: dict[str, SplitRecord]
    shards: dict[str, ShardRecord | None]
    complete: bool = False

    def shards_of(self, split: str) -> dict[str, ShardRecord]:
        """Returns the shards of one split of a complete conversion, in the order of the rows."""
        return {name: record for name, record in self.shards.items() if split_of(name) == split}

    def to_dict(self) -> dict[str, Any]:
        """Returns what is written: JSON types."""
        return {"format_version": _FORMAT_VERSION, **asdict(self)}

    def write(self, folder: Path) -> None:
        """Writes `conversion.json` into `folder`, in one step. Raises OSError where that fails."""
        with replacing(folder / MANIFEST) as file:
            file.write((json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """Reads `conversion.json` in `folder`; None where there is none.

        Raises:
            ValueError: it is damaged, or of another version of this package.
            OSError: it cannot be read.
        """
        path = folder / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format_version"] != _FORMAT_VERSION:
                raise ValueError(f"its format_version is {content['format_version']!r}, not {_FORMAT_VERSION}")
            if odd := [name for name in content["shards"] if not _SHARD.fullmatch(name)]:
                raise ValueError(f"it names the shard {odd[0]!r}; shards lie in data/ and end in .parquet")
            found = cls(
                source=DataSource(**content["source"]),
                settings=_settings(content["settings"]),
                splits={name: SplitRecord(**record) for name, record in content["splits"].items()},
                shards={name: record and ShardRecord(**record) for name, record in content["shards"].items()},
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
        """Lists in words what of source, settings and rows is not the same in `other`, the conversion asked for."""
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
    """Returns the split that the name of a shard starts with: `data/train-00000-of-00002.parquet` -> `train`."""
    return shard.rpartition("/")[2].partition("-")[0]


def _check(manifest: Manifest) -> None:
    """Refuses a record whose parts deny each other: rows would be left out, or taken for what they are not."""
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
    """Makes settings of what JSON gives: it has no tuples."""
    size = content["image_size"]
    return Settings(**{**content, "image_size": tuple(size) if size else None})


def _differing_fields(label: str, folder: object, wanted: object) -> list[str]:
    """Lists the fields of two records that differ, with both values."""
    pairs = [(field.name, getattr(folder, field.name), getattr(wanted, field.name)) for field in fields(folder)]
    return [f"{label}{name} was {old!r} and is now {new!r}" for name, old, new in pairs if old != new]
