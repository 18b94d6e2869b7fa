"""Builder of person-search sets in folders.

Use `load_person_search`, or the builder class itself (`load_dataset` no longer runs scripts):

    >>> builder = PersonSearchBuilder("cuhk_pedes", "CUHK-PEDES")
    >>> builder.download_and_prepare()
    >>> train = builder.as_dataset("train")
"""

import inspect
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import datasets
from datasets.utils import tqdm

from dataset_scripts.annotations.captions import clean_caption
from dataset_scripts.annotations.records import PersonSearchRecord, check_identities, merge_rows
from dataset_scripts.annotations.splitting import PersonSplit, check_split_rule, split_by_person, write_person_split
from dataset_scripts.builders.cache_key import ROW_RULES, hash_files
from dataset_scripts.builders.image_files import ImageFolder, check_image_links, find_bad_images, refuse_bad_images
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES, PERSON_SEARCH_SPLITS
from dataset_scripts.builders.skipped_images import write_skipped
from dataset_scripts.builders.table import PersonSearchTable
from dataset_scripts.formats import AnnotationFormat, get_format

__all__ = ["PersonSearchBuilder", "PersonSearchConfig"]


@dataclass
class PersonSearchConfig(datasets.BuilderConfig):
    """Options of a set in a folder, all part of the cache key.

    Raises ValueError: an invalid value.
    """

    annotation_hash: str = ""  # hash of the annotation files, so an edited file never gets an old table
    clean_captions: bool = True  # tidy spaces and punctuation (`dataset_scripts.annotations.captions`)
    # `error` refuses a set with missing or undecodable images; `skip` leaves them out and lists them (see
    # `dataset_scripts.skipped_images`)
    on_bad_image: str = "error"
    # validation_share, test_share: shares of the training persons that form a split the set lacks, in [0, 1); None for
    # the set's default
    validation_share: float | None = None
    test_share: float | None = None
    split_seed: int = 0  # 0 or greater; draws those persons
    # `names` draws each person by its own name; `numbers` as earlier versions did, to resume their runs
    # (`dataset_scripts.annotations.splitting`)
    split_rule: str = "names"

    def __post_init__(self):
        super().__post_init__()
        if self.on_bad_image not in ("error", "skip"):
            raise ValueError(f"on_bad_image is {self.on_bad_image!r}, but must be 'error' or 'skip'.")
        if not isinstance(self.clean_captions, bool):
            raise ValueError(f"clean_captions is {self.clean_captions!r}, but must be true or false.")
        check_split_rule(self.split_rule)


class PersonSearchBuilder(PersonSearchTable):
    """Builder of a set in a folder of annotation files and images.

    Images stay where they are: the table stores their paths. Before the first row is written, everything is checked:
    layout, each field, that no person is in two splits, that every image exists and decodes. The first kind of problem
    raises; `prompt-clip data check` reports them all.

    Args:
        layout: a key of `dataset_scripts.formats.FORMATS`, or a format.
        data_dir: the folder of the data set.
        cache_dir: where tables are kept; by default the cache of `datasets`.
        options: fields of `PersonSearchConfig`.

    Raises ValueError, OSError: here for an incomplete folder, in `download_and_prepare` for a row or image.
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
        # Defaults are filled in, so that the key is the same whether or not they are given.
        config = PersonSearchConfig(**options)
        super().__init__(
            cache_dir=cache_dir,
            dataset_name=self.layout.name,
            data_dir=str(folder),
            hash=f"rules_{ROW_RULES}",
            # File names count too: they may name the split.
            annotation_hash=hash_files(annotations, *(str(file.relative_to(folder)) for file in annotations)),
            **{option: getattr(config, option) for option in self.option_names},
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
        """Read one record per image, each with a split, no person in two."""
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
        """Check every image; skip or refuse the bad ones, per `on_bad_image`."""
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
