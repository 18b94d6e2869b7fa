"""The schema of every person-search set, and the base of the builders that read one from a folder.

A table has one row for each image. `load_person_search` is the usual way in; the builders are ordinary `datasets`
builders, used as classes because `load_dataset` no longer runs scripts:

    >>> builder = PersonSearchBuilder("cuhk_pedes", "CUHK-PEDES")
    >>> builder.download_and_prepare()
    >>> train = builder.as_dataset("train")
"""

import inspect
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import datasets
from datasets.utils import tqdm

from dataset_scripts.annotations.captions import clean_caption
from dataset_scripts.annotations.records import PersonSearchRecord, check_identities, merge_rows
from dataset_scripts.annotations.splitting import PersonSplit, check_split_rule, split_by_person, write_person_split
from dataset_scripts.builders.cache_key import ROW_RULES, hash_files
from dataset_scripts.builders.images import (
    ImageFolder,
    PersonImage,
    check_image_links,
    check_images_exist,
    find_bad_images,
    refuse_bad_images,
)
from dataset_scripts.builders.skipped import write_skipped
from dataset_scripts.common.suggest import did_you_mean
from dataset_scripts.formats import AnnotationFormat, get_format

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

    def _leads_out(self, image_id: str) -> bool:
        """Says whether an image of the table leaves its folder by a link, where images are files of others."""
        return False

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
        # A file may have become a link since the table was built.
        if outside := next(
            (name for name in dataset.data.column("image_id").to_pylist() if self._leads_out(name)), None
        ):
            raise ValueError(f"image {outside} of {self.name} leads out of its folder by a link. Copy the file there.")
        return dataset


@dataclass
class PersonSearchConfig(datasets.BuilderConfig):
    """Options of a set in a folder. Every one of them is part of the cache key.

    Attributes:
        annotation_hash: of the annotation's content: an edited file is never served from an old table.
        clean_captions: put the captions' spaces and punctuation right (`dataset_scripts.annotations.captions`).
        on_bad_image: `error` refuses a set with an image that is missing or cannot be decoded; `skip` leaves such
            images out and writes their list (see `dataset_scripts.skipped_images`).
        validation_share: share of the training persons that become the validation split, where the set has none, in
            [0, 1); None for the set's own default.
        test_share: likewise for the test split.
        split_seed: 0 or greater; draws those persons.
        split_rule: "names" draws each person by its own name; "numbers" draws as earlier versions did, for runs of
            then (`dataset_scripts.annotations.splitting`).

    Raises:
        ValueError: an option is no such value.
    """

    annotation_hash: str = ""
    clean_captions: bool = True
    on_bad_image: str = "error"
    validation_share: float | None = None
    test_share: float | None = None
    split_seed: int = 0
    split_rule: str = "names"

    def __post_init__(self):
        super().__post_init__()
        if self.on_bad_image not in ("error", "skip"):
            raise ValueError(f"on_bad_image is {self.on_bad_image!r}, but must be 'error' or 'skip'.")
        if not isinstance(self.clean_captions, bool):
            raise ValueError(f"clean_captions is {self.clean_captions!r}, but must be true or false.")
        check_split_rule(self.split_rule)


class PersonSearchBuilder(PersonSearchTable):
    """Builds the table of a set in a folder: annotation files and a folder of images.

    Images stay where they are: the table stores their paths. Everything that can be known of the folder is checked
    before the first row is written: the layout, each field, that no person is in two splits, the files, and that every
    image decodes. `prompt-clip data check` reports all problems at once; here the first kind of them is an error.

    Args:
        layout: what the folder looks like, by name (`dataset_scripts.formats.FORMATS`) or as an object.
        data_dir: the folder of the data set.
        cache_dir: where tables are kept; by default where `datasets` keeps its own.
        options: fields of `PersonSearchConfig`.

    Raises:
        ValueError, OSError: here for a folder that lacks its parts, in `download_and_prepare` for a row or image.
    """

    BUILDER_CONFIG_CLASS = PersonSearchConfig
    option_names = ("clean_captions", "on_bad_image", "validation_share", "test_share", "split_seed", "split_rule")

    def __init__(
        self,
        layout: str | AnnotationFormat,
        data_dir: str | Path | None = None,
        cache_dir: str | Path | None = None,
        **options: bool | str | float | None,
    ):
        self.layout = get_format(layout) if isinstance(layout, str) else layout
        folder = self.layout.find(data_dir)
        annotations = self.layout.annotations(folder)
        self._folder, self._images = folder, folder / self.layout.image_folder
        self._image_folder = ImageFolder(self._images)
        # Options left out are written out: the key must not depend on whether a default was given or meant.
        filled_in = PersonSearchConfig(**options)
        super().__init__(
            cache_dir=cache_dir,
            dataset_name=self.layout.name,
            data_dir=str(folder),
            hash=f"rules_{ROW_RULES}",
            # With their names, which may tell the split.
            annotation_hash=hash_files(annotations, *(str(file.relative_to(folder)) for file in annotations)),
            **{option: getattr(filled_in, option) for option in self.option_names},
        )

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description=inspect.getdoc(type(self.layout)),
            features=PERSON_SEARCH_FEATURES.copy(),
            homepage=self.layout.homepage,
            citation=self.layout.citation,
            license=self.layout.terms,
        )

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        records = self._usable(self._records())
        by_split = {name: [record for record in records if record.split == name] for name in PERSON_SEARCH_SPLITS}
        return [
            datasets.SplitGenerator(name=name, gen_kwargs={"records": chosen})
            for name, chosen in by_split.items()
            if chosen
        ]

    def _leads_out(self, image_id: str) -> bool:
        return self._image_folder.leads_out(image_id)

    def _records(self) -> list[PersonSearchRecord]:
        """Reads the annotation: one record an image, each in a split, no person in two."""
        rows = tqdm(self.layout.rows(self._folder), desc="Reading the annotation", unit=" rows", delay=2)
        records = merge_rows(map(self.layout.record, rows), self.layout.identity_per_image)
        validation_share, test_share = (
            default if share is None else share
            for share, default in zip(
                (self.config.validation_share, self.config.test_share), self.layout.shares(self._folder), strict=True
            )
        )
        split = PersonSplit(validation_share, test_share, self.config.split_seed, self.config.split_rule)
        records = split_by_person(records, **asdict(split))
        if split.made("train"):
            write_person_split(self._output_dir, split)
        check_identities(records)
        return records

    def _usable(self, records: list[PersonSearchRecord]) -> list[PersonSearchRecord]:
        """Checks every image, and leaves out the bad ones or refuses them, as `on_bad_image` says."""
        check_image_links(self._images, records)
        bad = find_bad_images(self._images, records)
        if self.config.on_bad_image == "error":
            refuse_bad_images(bad, len(records))
        write_skipped(self._output_dir, bad)
        left_out = {image.record.image_id for image in bad}
        usable = [record for record in records if record.image_id not in left_out]
        if not usable:
            refuse_bad_images(bad, len(records))
        return usable

    def _generate_examples(self, records: list[PersonSearchRecord]) -> Iterator[tuple[int, dict]]:
        clean = clean_caption if self.config.clean_captions else str
        for number, record in enumerate(records):
            yield (
                number,
                {
                    "image": str(self._images / record.image_id),
                    "image_id": record.image_id,
                    "person_id": record.person_id,
                    "captions": [clean(caption) for caption in record.captions],
                    "camera": record.camera,
                },
            )
