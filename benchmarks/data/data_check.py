"""How long does `prompt-clip data check` take on a million rows and on 40,000 images, and how much memory?

    python -m benchmarks.data.data_check [--rows 1000000] [--images 40000]

A JSON of a million rows in the schema of CUHK-PEDES (two captions of 20 to 35 words a row and their tokens) is checked
without images. Then 40,000 JPEG files of the size of pedestrian crops, just written and so in the system's cache, are
checked by their headers and, with --decode, whole, the search for equal pictures included. Each check is a process of
its own, whose start counts. Writes benchmarks/results/data_check.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.record import ROOT, write_record

TARGET_SECONDS, TARGET_MIB = 60, 1024
ROWS_A_PERSON = 3
COLOURS = "red green blue black white grey yellow brown pink orange purple beige navy dark light".split()
CLOTHES = "coat jacket shirt dress skirt jeans trousers shorts sneakers boots hat scarf hoodie vest".split()
THINGS = "backpack umbrella suitcase phone handbag bottle book camera basket bag bicycle stroller".split()
PEOPLE = ("The man", "The woman", "A young man", "A young woman", "This person", "The pedestrian")
# Runs the command line; its last words are its exit status, peak memory in KiB and processor seconds.
MEASURED = """
import resource, sys
from modeling_prompt_clip.cli import main
status = main(["data", "check", *sys.argv[1:], "--json"])
usage = resource.getrusage(resource.RUSAGE_SELF)
sys.stderr.write(f"\\n{status} {usage.ru_maxrss} {usage.ru_utime + usage.ru_stime}")
"""


def captions() -> Iterator[str]:
    """Yield sentences endlessly."""
    random = np.random.default_rng(0)
    while True:
        for row in random.integers(0, 1 << 30, (4096, 12)).tolist():
            worn = ", a ".join(f"{COLOURS[n % 15]} {CLOTHES[n // 15 % 14]}" for n in row[: 2 + row[0] % 4])
            thing = f"{COLOURS[row[6] % 15]} {THINGS[row[7] % 12]}"
            yield (
                f"{PEOPLE[row[8] % 6]} wears a {worn} and plain shoes, carries a {thing} in the left hand, "
                f"and walks past the shop with number {row[9] % 10_000}."
            )


def write_annotation(folder: Path, rows: int) -> list[str]:
    """Write rows in the schema of `reid_raw.json`, the last tenth of the persons in val and test.

    Returns the paths of the images, below `imgs/`.
    """
    (folder / "imgs").mkdir()
    texts, persons = captions(), -(-rows // ROWS_A_PERSON)
    paths = [f"cam_{row % 6}/{row:07}.jpg" for row in range(rows)]
    with open(folder / "reid_raw.json", "w", encoding="utf-8") as stream:
        for row, path in enumerate(paths):
            person = row // ROWS_A_PERSON
            both = [next(texts), next(texts)]
            fields = {
                "split": "train" if person < persons * 0.9 else "val" if person < persons * 0.95 else "test",
                "captions": both,
                "file_path": path,
                "processed_tokens": [text.lower().split() for text in both],
                "id": person + 1,
            }
            stream.write(("[" if row == 0 else ", ") + json.dumps(fields))
        stream.write("]")
    return paths


def write_image(folder: Path, path: str) -> int:
    """Write smooth noise as a JPEG of about 7 KB; return its size in bytes."""
    random = np.random.default_rng(int(Path(path).stem))
    width = int(random.integers(64, 140))
    size = (width, int(width * random.uniform(2, 3)))
    coarse = Image.fromarray(random.integers(0, 256, (24, 8, 3), dtype=np.uint8))
    file = folder / "imgs" / path
    coarse.resize(size, Image.Resampling.BICUBIC).save(file, quality=88)
    return file.stat().st_size


def check(folder: Path, *options: str) -> dict[str, Any]:
    """Check a folder in a separate process."""
    start = time.perf_counter()
    command = [sys.executable, "-c", MEASURED, str(folder), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    status, kibibytes, cpu_seconds = done.stderr.rsplit("\n", 1)[1].split()
    answer = json.loads(done.stdout)
    return {
        "options": list(options),
        "rows": answer["rows"],
        "good_images": answer["good_images"],
        "problems": {problem["kind"]: problem["count"] for problem in answer["problems"]},
        "exit_status": int(status),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(float(cpu_seconds), 1),
        "peak_memory_mib": round(int(kibibytes) / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the annotation without images")
    parser.add_argument("--images", type=int, default=40_000, help="files that are looked at")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        large, small = Path(place, "rows"), Path(place, "images")
        large.mkdir()
        write_annotation(large, args.rows)
        size = (large / "reid_raw.json").stat().st_size
        results = [check(large, "--annotation_only")]
        (large / "reid_raw.json").unlink()
        small.mkdir()
        paths = write_annotation(small, args.images)
        for camera in {os.path.dirname(path) for path in paths}:
            (small / "imgs" / camera).mkdir()
        with ProcessPoolExecutor() as pool:
            sizes = list(pool.map(partial(write_image, small), paths, chunksize=100))
        results += [check(small), check(small, "--decode")]
    rows_checked, headers_read, _ = results
    write_record(
        "data_check",
        __doc__.splitlines()[0],
        ("datasets", "numpy", "pillow", "pyarrow"),
        annotation_mib=round(size / 2**20),
        mean_image_bytes=round(sum(sizes) / len(sizes)),
        target=f"rows within {TARGET_SECONDS} s and {TARGET_MIB} MiB, headers within {TARGET_SECONDS} s",
        target_met=rows_checked["peak_memory_mib"] <= TARGET_MIB
        and max(rows_checked["seconds"], headers_read["seconds"]) <= TARGET_SECONDS,
        results=results,
    )


if __name__ == "__main__":
    main()
