"""How many training images a second does one core prepare, from JPEG bytes to an augmented 384x128 tensor?

    python benchmarks/transforms.py [--seconds 5]

Pictures are smooth noise with a little grain, saved as JPEG of quality 90, 64x128 to 200x500 pixels (width x height),
the range of pedestrian crops. Each case runs on one thread for the given seconds of processor time, three times; the
best is reported, as other work on the machine can only slow it down.
"""

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, features

from record import write_record
from trainers.transforms import TrainingTransform, sample_generator

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SIZE = (384, 128)
OFF = {"flip": 0.0, "pad": 0.0, "erase": 0.0}
ALL_ON = {"flip": 1.0, "erase": 1.0, "color_jitter": 0.2}


def jpeg_crops(count: int) -> list[bytes]:
    """JPEG files of `count` made-up crops."""
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


def images_per_second(prepare: Callable[[int], object], seconds: float) -> float:
    """Calls of `prepare(index)` a second of processor time, the best of three runs of `seconds`."""
    rates = []
    for _ in range(3):
        start, done = time.process_time(), 0
        while (elapsed := time.process_time() - start) < seconds:
            prepare(done)
            done += 1
        rates.append(done / elapsed)
    return max(rates)


def measure(seconds: float) -> dict[str, float]:
    """Images a second of decoding alone and of decoding with the transform."""
    files = jpeg_crops(200)

    def decode(index: int) -> Image.Image:
        image = Image.open(io.BytesIO(files[index % len(files)]))
        image.load()
        return image

    def case(**options: float) -> float:
        transform = TrainingTransform(SIZE, MEAN, STD, **options)
        return images_per_second(lambda index: transform(decode(index), sample_generator(0, 0, index)), seconds)

    return {
        "decode only": images_per_second(decode, seconds),
        "decode, resize, normalise": case(**OFF),
        "default recipe": case(),
        "all augmentations on every image": case(**ALL_ON),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="processor time of one run of one case")
    seconds = parser.parse_args().seconds
    torch.set_num_threads(1)
    write_record(
        "transforms",
        __doc__.splitlines()[0],
        ("torch", "pillow"),
        threads_used=1,
        image_size=SIZE,
        libjpeg_turbo=features.check_feature("libjpeg_turbo"),
        images_per_second={name: round(speed) for name, speed in measure(seconds).items()},
    )


if __name__ == "__main__":
    main()
