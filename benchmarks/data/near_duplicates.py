"""Does the leak guard find copies of an image, does it accuse wrongly, and how long does it take?

    python -m benchmarks.data.near_duplicates

Pictures are those of the synthetic set (1,250 persons x 4 images, 48x144, JPEG of quality 92), also padded to a
square. Copies of them are made as data sets are: encoded again, resized, cut, mirrored. For each kind of copy, the
share within some bits of the original's hash, and the share that is also confirmed by signature; for different images,
the number of such pairs. Real crops from one camera share their background: these pictures do not show how often that
confuses. Speeds are those of one process and thread, in seconds of processor time. It takes about two minutes.
"""

import io
import time
from collections.abc import Callable, Iterable
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageOps, features

from benchmarks.record import write_record
from dataset_scripts.builders.synthetic_pedes import encode_jpeg
from dataset_scripts.leaks.image_hash import ImagePrints, hash_files
from dataset_scripts.leaks.image_signature import SAME_PICTURE_CORRELATION, signature_correlation
from dataset_scripts.leaks.near_duplicates import MAX_HASH_DISTANCE, near_pair_blocks, near_pairs, same_pictures
from dataset_scripts.synthetic import render_person

PERSONS, IMAGES_A_PERSON, COPIED = 1250, 4, 1000
DISTANCES = (5, 7, MAX_HASH_DISTANCE, 11)
SPEED_SIZES = ((64, 128), (128, 384), (200, 500))


def jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def cut(image: Image.Image, share: float) -> Image.Image:
    """Cut `share` of width and height off each edge, then resize to the old size."""
    width, height = image.size
    box = (width * share, height * share, width * (1 - share), height * (1 - share))
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def squared(image: Image.Image, colour: str) -> Image.Image:
    return ImageOps.pad(image, (image.height, image.height), color=colour)


def half(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


def large(image: Image.Image) -> Image.Image:
    return image.resize((128, 384), Image.Resampling.BILINEAR)


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "PNG": png,
    **{f"JPEG q{quality}": lambda image, quality=quality: jpeg(image, quality) for quality in (50, 75, 95)},
    **{
        f"128x384, JPEG q{quality}": lambda image, quality=quality: jpeg(large(image), quality) for quality in (50, 75)
    },
    **{
        f"half size, JPEG q{quality}": lambda image, quality=quality: jpeg(half(image), quality)
        for quality in (50, 75)
    },
    **{
        f"cut by {share} % at each edge": lambda image, share=share: jpeg(cut(image, share / 100), 75)
        for share in (0.5, 1, 2, 4)
    },
    "brighter by 15 %": lambda image: jpeg(image.point(lambda value: min(255, int(value * 1.15))), 75),
    "padded to a square": lambda image: jpeg(squared(image, "black"), 75),
    "mirrored": lambda image: jpeg(ImageOps.mirror(image), 75),
}
COPIES_OF_PADDED = ("JPEG q50", "128x384, JPEG q50", "half size, JPEG q50", "cut by 1 % at each edge")


def hashed(files: list[bytes]) -> ImagePrints:
    with TemporaryDirectory() as folder:
        paths = [f"{folder}/{number}" for number in range(len(files))]
        for path, content in zip(paths, files, strict=True):
            with open(path, "wb") as file:
                file.write(content)
        return hash_files(paths)


def shares(distance: np.ndarray, confirmed: np.ndarray) -> dict[str, float | list[float]]:
    return {
        "mean_bits_apart": round(float(distance.mean()), 2),
        **{f"within_{limit}_bits": round(float((distance <= limit).mean()), 4) for limit in DISTANCES},
        "confirmed": round(float((confirmed & (distance <= MAX_HASH_DISTANCE)).mean()), 4),
    }


def recall(pictures: list[Image.Image], prints: ImagePrints, kinds: Iterable[str]) -> dict[str, dict]:
    """How many copies of each kind are found."""
    answers = {}
    for kind in kinds:
        copies = hashed([COPIES[kind](picture) for picture in pictures])
        distance = np.bitwise_count(copies.hashes ^ prints.hashes).sum(1)
        correlation = correlate(copies, prints, *[np.arange(len(copies))] * 2)
        answers[kind] = {
            **shares(distance, correlation >= SAME_PICTURE_CORRELATION),
            "lowest_correlation": round(float(correlation.min()), 3),
        }
    return answers


def correlate(one: ImagePrints, other: ImagePrints, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    signatures = one.signatures[rows], other.signatures[others]
    return signature_correlation(*signatures, one.bars[rows], other.bars[others])


def false_alarms(prints: ImagePrints, persons: np.ndarray) -> dict[str, dict]:
    """Count near and confirmed pairs of different images, of one person and of two."""
    answers = {who: dict.fromkeys((*DISTANCES, "confirmed"), 0) for who in ("same person", "different persons")}
    highest = 0.0
    for left, right, distance in near_pair_blocks(prints.hashes, None, max(DISTANCES)):
        correlation = np.zeros(len(left))
        near = np.flatnonzero(distance <= MAX_HASH_DISTANCE)
        for rows in np.array_split(near, len(near) // 4096 + 1):
            correlation[rows] = correlate(prints, prints, left[rows], right[rows])
        highest = max(highest, float(correlation.max(initial=0)))
        alike = persons[left] == persons[right]
        for who, chosen in (("same person", alike), ("different persons", ~alike)):
            for limit in DISTANCES:
                answers[who][limit] += int((chosen & (distance <= limit)).sum())
            answers[who]["confirmed"] += int((chosen & (correlation >= SAME_PICTURE_CORRELATION)).sum())
    images = len(persons)
    within = images * (IMAGES_A_PERSON - 1) // 2
    return {
        "pairs_of_one_person": within,
        "pairs_of_two_persons": images * (images - 1) // 2 - within,
        "highest_correlation_of_near_pairs": round(highest, 3),
        **{who: {str(key): count for key, count in counts.items()} for who, counts in answers.items()},
    }


def cpu_seconds(work: Callable[[], object]) -> tuple[float, object]:
    start = time.process_time()
    answer = work()
    return round(time.process_time() - start, 2), answer


def hash_speed(pictures: list[Image.Image]) -> dict[str, int]:
    """Images hashed per second by one core, reading included; best of three."""
    speeds = {}
    for width, height in SPEED_SIZES:
        with TemporaryDirectory() as folder:
            paths = [f"{folder}/{number}.jpg" for number in range(500)]
            for path, picture in zip(paths, pictures, strict=False):
                picture.resize((width, height), Image.Resampling.BICUBIC).save(path, quality=90)
            seconds = min(cpu_seconds(lambda paths=paths: hash_files(paths))[0] for _ in range(3))
            speeds[f"{width}x{height}"] = round(len(paths) / seconds)
    return speeds


def like(hashes: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Invent hashes as unevenly spread as real ones: two halves of real hashes, 10 bits flipped."""
    made = np.stack([random.choice(hashes[:, word], count) for word in range(2)], axis=1)
    for _ in range(10):
        made[np.arange(count), random.integers(0, 2, count)] ^= np.uint64(1) << random.integers(
            0, 64, count, dtype=np.uint64
        )
    return made


def search_speed(hashes: np.ndarray) -> dict[str, dict]:
    answers = {}
    random = np.random.default_rng(0)
    right = like(hashes, 20_000, random)
    for name, count in (("40,000 x 20,000", 40_000), ("1,000,000 x 20,000", 1_000_000)):
        left = like(hashes, count, random)
        seconds, pairs = cpu_seconds(lambda left=left: near_pairs(left, right, MAX_HASH_DISTANCE))
        answers[name] = {"seconds": seconds, "near_pairs": len(pairs.left)}
    return answers


def worst_case(padded: ImagePrints, prints: ImagePrints) -> dict[str, dict]:
    """Time the worst sets: all images padded alike, or one picture many times."""
    answers = {}
    seconds, pairs = cpu_seconds(lambda: same_pictures(padded))
    answers["5,000 different images, padded with white"] = {"seconds": seconds, "same_pictures": len(pairs.left)}
    one = prints.select(np.zeros(10_000, np.int64))
    seconds, pairs = cpu_seconds(lambda: same_pictures(one))
    answers["one image 10,000 times"] = {"seconds": seconds, "same_pictures": len(pairs.left)}
    return answers


def main() -> None:
    rendered = [picture for person in range(PERSONS) for picture in render_person(0, person, IMAGES_A_PERSON)]
    persons = np.array([picture.person_id for picture in rendered])
    files = [encode_jpeg(picture.image) for picture in rendered]
    pictures = [Image.open(io.BytesIO(file)) for file in files]
    prints = hashed(files)
    padded = {}
    for colour in ("black", "white"):
        padded[f"padded with {colour}"] = hashed([jpeg(squared(picture, colour), 92) for picture in pictures])
    some = np.arange(COPIED)
    some_padded = [squared(picture, "white") for picture in pictures[:COPIED]]
    write_record(
        "near_duplicates",
        __doc__.splitlines()[0],
        ("pillow", "numpy"),
        threads_used=1,
        libjpeg_turbo=features.check_feature("libjpeg_turbo"),
        rule={"bits": MAX_HASH_DISTANCE, "correlation": SAME_PICTURE_CORRELATION},
        copies_of_each_kind=COPIED,
        copies_found=recall(pictures[:COPIED], prints.select(some), COPIES),
        copies_of_padded_found=recall(some_padded, padded["padded with white"].select(some), COPIES_OF_PADDED),
        false_alarms={name: false_alarms(these, persons) for name, these in {"as they are": prints, **padded}.items()},
        images_hashed_a_second=hash_speed(pictures),
        search=search_speed(prints.hashes),
        worst_cases=worst_case(padded["padded with white"], prints),
    )


if __name__ == "__main__":
    main()
