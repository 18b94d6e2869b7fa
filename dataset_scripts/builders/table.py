"""Base of the builders of person-search tables."""

import inspect
from typing import ClassVar

import datasets

from dataset_scripts.builders.image_files import check_images_exist
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES, split_hint

__all__ = ["PersonSearchTable"]


class PersonSearchTable(datasets.GeneratorBasedBuilder):
    """Base of the person-search builders: schema, and checks on loading.

    Subclasses set `homepage`, `citation`, `terms` (of use) and `option_names` (arguments beyond `data_dir` and
    `cache_dir`), and yield rows of `PERSON_SEARCH_FEATURES`.
    """

    VERSION = datasets.Version("1.0.0")
    option_names: ClassVar[tuple[str, ...]] = ()
    homepage: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    terms: ClassVar[str] = ""

    def worker_processes(self) -> int:
        """Default number of processes that build the set."""
        return 1

    def as_dataset(self, split: str | None = None, in_memory: bool = False) -> datasets.Dataset | datasets.DatasetDict:
        """Return one split, or a dict of all if `split` is None.

        Raises ValueError for an unknown split, FileNotFoundError if image files are gone.
        """
        if split is not None and split not in self.info.splits:
            sizes = ", ".join(f"{name}: {info.num_examples} images" for name, info in self.info.splits.items())
            hint = split_hint(split, self.info.splits)
            raise ValueError(f"{self.name} has no split {split!r}, or no images in it ({sizes}).{hint}")
        return super().as_dataset(split, in_memory=in_memory)

    def _leads_out(self, image_id: str) -> bool:
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
        # The cache stores plain `datasets.Image`, whose errors name no file.
        dataset.info.features = PERSON_SEARCH_FEATURES.copy()
        images = dataset.data.column("image").combine_chunks()
        check_images_exist(images.filter(images.field("bytes").is_null()).field("path").to_pylist())
        # A file may have become a link since the table was built.
        if outside := next(
            (name for name in dataset.data.column("image_id").to_pylist() if self._leads_out(name)), None
        ):
            raise ValueError(f"image {outside} of {self.name} leaves its folder through a link. Copy the file there.")
        return dataset
