"""A drawn person-search set: no download, no real person, reproducible by seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from os import cpu_count
from pathlib import Path

import datasets
from PIL import Image

from dataset_scripts.builders.cache_key import RENDERER_RULES
from dataset_scripts.builders.table import PersonSearchTable
from dataset_scripts.common.numbers import check_integer
from dataset_scripts.synthetic import render_person

__all__ = ["SyntheticPedes", "SyntheticPedesConfig", "encode_jpeg"]

_CAMERAS = 6
# Starting a process takes about as long as drawing this many images.
_IMAGES_WORTH_A_PROCESS = 500
# Least and greatest value of each option.
_RANGES: dict[str, tuple[int, int]] = {
    "seed": (0, 2**63 - 1),
    "train_identities": (1, 100_000),
    "validation_identities": (1, 100_000),
    "test_identities": (1, 100_000),
    "images_per_identity": (1, _CAMERAS),
    "captions_per_image": (1, 100),
}


@dataclass
class SyntheticPedesConfig(datasets.BuilderConfig):
    """Options of the synthetic set, all part of the cache key.

    Raises ValueError, TypeError: an option is not an integer in its range.
    """

    seed: int = 0  # 0 or greater; selects the population
    # train_identities, validation_identities, test_identities: persons per split, 1 to 100,000. Person ids continue
    # from split to split (by default train 0..799, validation 800..949, test 950..1249)
    train_identities: int = 800
    validation_identities: int = 150
    test_identities: int = 300
    images_per_identity: int = 4  # 1 to 6; each image of a person is from another of the six cameras
    captions_per_image: int = 2  # 1 to 100

    def __post_init__(self):
        super().__post_init__()
        for option, (least, greatest) in _RANGES.items():
            check_integer(option, getattr(self, option), least=least, most=greatest)

    def person_ids(self) -> dict[str, range]:
        """Return the person ids of each split: disjoint and consecutive."""
        train_end = self.train_identities
        validation_end = train_end + self.validation_identities
        return {
            "train": range(train_end),
            "validation": range(train_end, validation_end),
            "test": range(validation_end, validation_end + self.test_identities),
        }


class SyntheticPedes(PersonSearchTable):
    """Synthetic pedestrians in six virtual cameras, described by sentences that name only what a picture shows.

    By default 800 / 150 / 300 persons x 4 images x 2 captions, 48 x 144 pixels (width x height), no person in two
    splits. The table stores images as JPEG, as the crops of real benchmarks are.

    Args:
        data_dir, cache_dir: folder of the finished table; give at most one. By default the cache of `datasets`.
        options: the fields of `SyntheticPedesConfig`.

    Raises:
        ValueError: an option is out of range, or both folders are given and differ.
        TypeError: an unknown option.
    """

    BUILDER_CONFIG_CLASS = SyntheticPedesConfig
    option_names = tuple(_RANGES)
    terms = "Apache-2.0"

    def __init__(self, data_dir: str | Path | None = None, cache_dir: str | Path | None = None, **options: int):
        if data_dir is not None and cache_dir is not None and str(data_dir) != str(cache_dir):
            raise ValueError(
                f"data_dir is {data_dir} and cache_dir is {cache_dir}, but the synthetic set is kept in one folder. "
                "Give one of them."
            )
        # Defaults are filled in, so that the key is the same whether or not they are given.
        config = SyntheticPedesConfig(**options)
        super().__init__(
            cache_dir=data_dir if cache_dir is None else cache_dir,
            # Another version of Pillow (drawing) or numpy (random numbers) may give other pixels.
            hash=f"rules_{RENDERER_RULES}-pillow_{version('pillow')}-numpy_{version('numpy')}",
            **{option: getattr(config, option) for option in self.option_names},
        )

    def worker_processes(self) -> int:
        """One process per 500 images, at most one per core or person."""
        persons = self.config.person_ids().values()
        images = sum(map(len, persons)) * self.config.images_per_identity
        return max(1, min(cpu_count() or 1, images // _IMAGES_WORTH_A_PROCESS, *map(len, persons)))

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        generators = []
        for split, person_ids in self.config.person_ids().items():
            # `datasets` shares a list out among its processes, keeping the order.
            generator = datasets.SplitGenerator(name=split, gen_kwargs={"person_ids": list(person_ids)})
            # A known size gives the progress bar its end.
            generator.split_info.num_examples = len(person_ids) * self.config.images_per_identity
            generators.append(generator)
        return generators

    def _generate_examples(self, person_ids: list[int]) -> Iterator[tuple[str, dict]]:
        config = self.config
        for person_id in person_ids:
            rendered = render_person(config.seed, person_id, config.images_per_identity, config.captions_per_image)
            for number, picture in enumerate(rendered):
                image_id = f"{person_id:05d}_{picture.camera}_{number}.jpg"
                yield (
                    image_id,
                    {
                        "image": encode_jpeg(picture.image),
                        "image_id": image_id,
                        "person_id": person_id,
                        "captions": picture.captions,
                        "camera": picture.camera,
                    },
                )


def encode_jpeg(image: Image.Image) -> bytes:
    """Encode an RGB image as JPEG, quality 92, full colour resolution.

    Compression belongs to the look of surveillance crops, and the file is a third of PNG's; but halved colour
    resolution would smear a hat or shoe at 48 pixels of width.
    """
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()
