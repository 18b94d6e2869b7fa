"""How many images a second does one core prepare for evaluation and for training at 384x128, and do workers add up?

    python -m benchmarks.data.input_pipeline [--seconds 5]

Pictures are smooth noise with a little grain, saved as JPEG of quality 90, 128x64 to 500x200 pixels (height x width),
the range of pedestrian crops. They lie in a table as bytes, and are read, prepared and batched by what evaluation and
training use. Cases take turns, and the best turn of each is reported, because other work on the machine can only slow
it down. Rates of one core count processor time; the loaders' count wall time, from the first batch on.
Writes benchmarks/results/input_pipeline.json.
"""

import argparse
import io
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator

import datasets
import numpy as np
import torch
from PIL import Image, features

from benchmarks.record import write_record
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES
from modeling_prompt_clip import PromptCLIPProcessor
from modeling_prompt_clip.loading import STAND_IN, resolve_model_path
from modeling_prompt_clip.retrieval.image_batches import ImagePreparation, image_batches
from trainers.data.pairs import CaptionPairs, PairCollator, pair_loader
from trainers.transforms.images import TrainingTransform, sample_generator

SIZE = (384, 128)
IMAGES, BATCH_SIZE = 256, 64
MANY_PASSES = 1000  # over the table, more than anyone waits for
WORKERS, TURNS = (0, 1, 2), 4
OFF = {"flip": 0.0, "pad": 0.0, "erase": 0.0}
ALL_ON = {"flip": 1.0, "erase": 1.0, "color_jitter": 0.2}
EVALUATION, BY_PROCESSOR = "evaluation", "evaluation, by transformers alone"
TRAINING, EVERY = "training, default recipe", "training, every augmentation on every image"
TARGETS = {EVALUATION: 400, TRAINING: 250, EVERY: 250}
AUGMENT = "flip, jitter, pad, erase"


def jpeg_crops(count: int) -> list[bytes]:
    """Return `count` invented crops as JPEG files."""
    random = np.random.default_rng(0)
    files = []
    for _ in range(count):
        width = int(random.integers(64, 201))
        height = min(500, max(128, int(width * random.uniform(2, 3))))
        coarse = Image.fromarray(random.integers(0, 256, (24, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        grain = random.integers(-8, 9, smooth.shape, dtype=np.int16)
        file = io.BytesIO()
        Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def crops_table() -> datasets.Dataset:
    """A split of `IMAGES` crops, one caption each."""
    rows = [
        {"image": {"bytes": file, "path": None}, "image_id": str(row), "person_id": row, "captions": ["a man in red"]}
        for row, file in enumerate(jpeg_crops(IMAGES))
    ]
    return datasets.Dataset.from_list([row | {"camera": None} for row in rows], features=PERSON_SEARCH_FEATURES)


class Pipelines:
    """The image pipelines of evaluation and training."""

    def __init__(self) -> None:
        self.table = crops_table()
        self.processor = PromptCLIPProcessor.from_clip(resolve_model_path(STAND_IN), SIZE)
        self.preparation = ImagePreparation(self.processor)

    def transform(self, **augmentations: float) -> TrainingTransform:
        """The training transform, by default that of the recipes."""
        settings = self.processor.image_processor
        return TrainingTransform(SIZE, settings.image_mean, settings.image_std, **augmentations)

    def pairs(self, **augmentations: float) -> CaptionPairs:
        """The table as training pairs."""
        return CaptionPairs(self.table, self.processor.tokenizer, self.transform(**augmentations), seed=0)

    def evaluation(self, workers: int, passes: int = 1) -> Iterator[torch.Tensor]:
        """The batches that `encode_images` gives to the model."""
        images = self.table.select(list(range(IMAGES)) * passes)["image"]
        batches = image_batches(self.preparation, images, BATCH_SIZE, num_workers=workers)
        return map(self.preparation.normalize, batches)

    def training(self, pairs: CaptionPairs, workers: int, passes: int = 1) -> Iterator[torch.Tensor]:
        """The batches that training gives to the model."""
        batches = pairs.batches(BATCH_SIZE, passes * IMAGES // BATCH_SIZE)
        loader = pair_loader(pairs, batches, self.processor.tokenizer.pad_token_id, workers)
        return (batch["pixel_values"] for batch in loader)


def whole_paths(pipelines: Pipelines) -> dict[str, Callable[[], object]]:
    """From the table to batches, `IMAGES` images a call."""
    default, every = pipelines.pairs(), pipelines.pairs(**ALL_ON)
    starts = range(0, IMAGES, BATCH_SIZE)
    return {
        EVALUATION: lambda: count(pipelines.evaluation(0)),
        BY_PROCESSOR: lambda: count(
            pipelines.processor(images=pipelines.table["image"][start : start + BATCH_SIZE]) for start in starts
        ),
        TRAINING: lambda: count(pipelines.training(default, 0)),
        EVERY: lambda: count(pipelines.training(every, 0)),
    }


def steps(pipelines: Pipelines) -> dict[str, Callable[[], object]]:
    """The steps of these paths on prepared images, `IMAGES` images a call; some calls join several steps."""
    images = pipelines.table["image"][:]
    batches = [images[start : start + BATCH_SIZE] for start in range(0, IMAGES, BATCH_SIZE)]
    resized = [pipelines.preparation.resize(batch) for batch in batches]
    caption_pairs = pipelines.pairs()
    pairs = [caption_pairs[0, row] for row in range(BATCH_SIZE)]
    collate = PairCollator(pipelines.processor.tokenizer.pad_token_id)

    def each(prepare: Callable[[Image.Image], object]) -> Callable[[], object]:
        """Holds as many results at a time as the paths do: new memory costs time."""
        return lambda: [len([prepare(image) for image in batch]) for batch in batches]

    def transformed(**augmentations: float) -> Callable[[], object]:
        transform, rows = pipelines.transform(**augmentations), itertools.count()
        return each(lambda image: transform(image, sample_generator(0, 0, next(rows))))

    return {
        "read and decode": lambda: count(pipelines.table["image"]),
        "resize": each(lambda image: image.resize(SIZE[::-1], Image.Resampling.BICUBIC)),
        "resize, collate": lambda: count(map(pipelines.preparation.resize, batches)),
        "to tensor, normalise": lambda: count(map(pipelines.preparation.normalize, resized)),
        "transform without augmentation": transformed(**OFF),
        "transform": transformed(),
        "transform, every augmentation": transformed(**ALL_ON),
        "collate": lambda: count(collate(pairs) for _ in batches),
    }


def count(items: Iterable[object]) -> int:
    """Consume an iterator without keeping its items."""
    return sum(1 for _ in items)


def times(cases: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Processor time per image in microseconds, in the best turn of each case; each case runs for `seconds` in all."""
    best = dict.fromkeys(cases, math.inf)
    spent = dict.fromkeys(cases, 0.0)
    while waiting := [name for name in cases if spent[name] < seconds]:
        for name in waiting:
            start = time.process_time()
            cases[name]()
            turn = time.process_time() - start
            spent[name] += turn
            best[name] = min(best[name], 1e6 * turn / IMAGES)
    return best


def shares(parts: dict[str, float]) -> dict[str, float]:
    """Percent of the sum."""
    return {name: round(100 * part / sum(parts.values()), 1) for name, part in parts.items()}


def shares_by_path(step: dict[str, float]) -> dict[str, dict[str, float]]:
    """Shares of the steps in each path; steps joined in one call are separated by subtraction."""
    plain = step["transform without augmentation"]
    evaluation = {
        "read and decode": step["read and decode"],
        "resize": step["resize"],
        "collate": step["resize, collate"] - step["resize"],
        "to tensor, normalise": step["to tensor, normalise"],
    }
    training = {
        "read and decode": step["read and decode"],
        "resize": step["resize"],
        "to tensor, normalise": plain - step["resize"],
        AUGMENT: step["transform"] - plain,
        "collate": step["collate"],
    }
    every = training | {AUGMENT: step["transform, every augmentation"] - plain}
    return {EVALUATION: shares(evaluation), TRAINING: shares(training), EVERY: shares(every)}


def loader_speeds(pipelines: Pipelines, seconds: float) -> dict[str, dict[int, int]]:
    """Images a second of wall time with each number of workers, in the best turn."""
    pairs = pipelines.pairs()
    loaders = {
        EVALUATION: lambda workers: pipelines.evaluation(workers, MANY_PASSES),
        TRAINING: lambda workers: pipelines.training(pairs, workers, MANY_PASSES),
    }
    best = {name: dict.fromkeys(WORKERS, 0) for name in loaders}
    for _ in range(TURNS):
        for name, workers in itertools.product(loaders, WORKERS):
            speed = images_per_second(loaders[name](workers), seconds / TURNS)
            best[name][workers] = max(best[name][workers], round(speed))
    return best


def images_per_second(batches: Iterator[torch.Tensor], seconds: float) -> float:
    """Counts from the first batch on, because workers start before it."""
    next(batches)
    start, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        done += len(next(batches))
    return done / elapsed


def show(one_core: dict[str, int], percent: dict[str, dict[str, float]], loaders: dict[str, dict[int, int]]) -> None:
    """Print the results as tables."""
    print("\nimages a second of one core")
    for name, speed in one_core.items():
        print(f"  {name:46}{speed:6}" + (f"   target {TARGETS[name]}" if name in TARGETS else ""))
    for name, parts in percent.items():
        print(f"share of each step in percent: {name}")
        for part, share in parts.items():
            print(f"  {part:46}{share:6.1f}")
    print(f"images a second of a loader with {', '.join(map(str, WORKERS))} workers")
    for name, speeds in loaders.items():
        print(f"  {name:46}" + "".join(f"{speed:6}" for speed in speeds.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="for each case")
    seconds = parser.parse_args().seconds
    torch.set_num_threads(1)
    pipelines = Pipelines()
    paths, parts = whole_paths(pipelines), steps(pipelines)
    taken = times(paths | parts, seconds)
    one_core = {name: round(1e6 / taken[name]) for name in paths}
    percent = shares_by_path(taken)
    loaders = loader_speeds(pipelines, seconds)
    write_record(
        "input_pipeline",
        __doc__.splitlines()[0],
        ("torch", "pillow", "transformers", "datasets"),
        threads_used=1,
        image_size=SIZE,
        libjpeg_turbo=features.check_feature("libjpeg_turbo"),
        targets_images_per_second_one_core=TARGETS,
        targets_met=all(one_core[name] >= target for name, target in TARGETS.items()),
        images_per_second_one_core=one_core,
        shares_percent=percent,
        loader_images_per_second_by_workers=loaders,
    )
    show(one_core, percent, loaders)


if __name__ == "__main__":
    main()
