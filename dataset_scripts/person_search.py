"""The schema of every person-search set, and the base of the builders that read one from a folder.

A table has one row for each image. `load_person_search` is the usual way in; the builders are ordinary `datasets`
builders, used as classes because `load_dataset` no longer runs scripts:

    >>> builder = CuhkPedes("CUHK-PEDES")
    >>> builder.download_and_prepare()
    >>> train = builder.as_dataset("train")
"""

import inspect
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import datasets

from dataset_scripts.annotations import AnnotationRow, PersonSearchRecord, check_identities, read_rows
from dataset_scripts.fingerprint import hash_files, python_sources
from dataset_scripts.folders import find_data_folder
from dataset_scripts.images import PersonImage, check_image_files, check_images_decode, check_images_exist
from dataset_scripts.suggest import did_you_mean

__all__ = [
    "PERSON_SEARCH_FEATURES",
    "PERSON_SEARCH_SPLITS",
    "PersonSearchBuilder",
    "PersonSearchConfig",
    "PersonSearchTable",
]

PERSON_SEARCH_SPLITS = ("train", "validation", "test")

PERSON_SEARCH_FEATURES = datasets.Features(
    {
        "image": PersonImage(),
        "image_id": datasets.Value("string"),
        "person_id": datasets.Value("int64"),
        "captions": datasets.List(datasets.Value("string")),
        "camera": datasets.Value("string"),
    }
)
"""`image`: RGB, decoded when read. `image_id`: path relative to the image folder, the same on every machine.
`person_id`: as in the annotation file; labels for training are made from it by sorting. `captions`: one or more.
`camera`: null where the set does not tell."""


class PersonSearchTable(datasets.GeneratorBasedBuilder):
    """What all person-search builders share: the schema, and the checks on what is handed out.

    Subclasses set `homepage`, `citation`, `terms` (of use) and `option_names` (arguments beyond `data_dir` and
    `cache_dir`), and yield rows of `PERSON_SEARCH_FEATURES`.
    """

    VERSION = datasets.Version("1.0.0")
    option_names: ClassVar[tuple[str, ...]] = ()
    homepage: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    terms: ClassVar[str] = ""

    def worker_processes(self) -> int:
        """Number of processes that build the set, where the user does not say."""
        return 1

    def as_dataset(self, split: str | None = None, in_memory: bool = False) -> datasets.Dataset | datasets.DatasetDict:
        """Returns one split, or all of them by name where `split` is None.

        Raises ValueError for a split that the set does not have, and FileNotFoundError where image files have gone.
        """
        if split is not None and split not in self.info.splits:
            sizes = ", ".join(f"{name}: {info.num_examples} images" for name, info in self.info.splits.items())
            hint = did_you_mean(split, self.info.splits)
            raise ValueError(f"{self.name} has no split {split!r}, or no image in it ({sizes}).{hint}")
        return super().as_dataset(split, in_memory=in_memory)

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description=inspect.getdoc(type(self)),
            features=PERSON_SEARCH_FEATURES.copy(),
            homepage=self.homepage,
            citation=self.citation,
            license=self.terms,
        )

    def _as_dataset(self, split: str | datasets.Split, in_memory: bool = False) -> datasets.Dataset:
        dataset = super()._as_dataset(split, in_memory=in_memory)
        # A table read back from the cache knows its images as plain `datasets.Image`, whose errors name no file.
        dataset.info.features = PERSON_SEARCH_FEATURES.copy()
        images = dataset.data.column("image").combine_chunks()
        check_images_exist(images.filter(images.field("bytes").is_null()).field("path").to_pylist())
        return dataset


@dataclass
class PersonSearchConfig(datasets.BuilderConfig):
    """Configuration of a set in a folder. `annotation_hash` keys the cache by the annotation's content."""

    annotation_hash: str = ""


class PersonSearchBuilder(PersonSearchTable):
    """Base of the builders that read a folder with one JSON annotation file and one folder of images.

    A subclass sets `annotation_file` and `image_folder` (names inside `data_dir`), optionally `known_files` (what is
    often found instead of the annotation, with an explanation), and writes `parse_row`. Images stay where they are:
    the table stores their paths. Everything that can be known of the folder is checked before the first row is
    written: the layout, each field, that no person is in two splits, the files, and that every image decodes.

    Args:
        data_dir: the folder of the data set.
        cache_dir: where tables are kept; by default where `datasets` keeps its own.

    Raises:
        ValueError, OSError: here for a folder that lacks its parts, in `download_and_prepare` for a row or image.
    """

    BUILDER_CONFIG_CLASS = PersonSearchConfig
    annotation_file: ClassVar[str]
    image_folder: ClassVar[str]
    known_files: ClassVar[Mapping[str, str]] = {}

    def __init__(self, data_dir: str | Path | None = None, cache_dir: str | Path | None = None):
        folder = find_data_folder(
            data_dir, type(self).__name__, self.annotation_file, self.image_folder, self.known_files
        )
        self._annotation = folder / self.annotation_file
        self._images = folder / self.image_folder
        super().__init__(
            cache_dir=cache_dir,
            data_dir=str(folder),
            hash=hash_files([*python_sources(), inspect.getfile(type(self))]),
            annotation_hash=hash_files([self._annotation]),
        )

    @abstractmethod
    def parse_row(self, row: AnnotationRow) -> PersonSearchRecord:
        """Turns one raw row into a record. Raises ValueError as the methods of `AnnotationRow` do."""

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        records = [self.parse_row(row) for row in read_rows(self._annotation)]
        check_identities(self._annotation, records)
        check_image_files(self._annotation, self._images, records)
        check_images_decode(self._annotation, self._images, records)
        by_split = {name: [record for record in records if record.split == name] for name in PERSON_SEARCH_SPLITS}
        return [
            datasets.SplitGenerator(name=name, gen_kwargs={"records": chosen})
            for name, chosen in by_split.items()
            if chosen
        ]

    def _generate_examples(self, records: list[PersonSearchRecord]) -> Iterator[tuple[int, dict]]:
        for record in records:
            yield (
                record.row,
                {
                    "image": str(self._images / record.image_id),
                    "image_id": record.image_id,
                    "person_id": record.person_id,
                    "captions": list(record.captions),
                    "camera": record.camera,
                },
            )
