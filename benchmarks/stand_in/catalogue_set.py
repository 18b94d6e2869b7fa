"""A set of catalogue pictures, rendered once into a memory-mapped file: what the stand-in CLIP is pretrained on."""

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from dataset_scripts.synthetic.seeds import stream

from .catalogue import CATALOGUE_SIZE, render_catalogue_item

__all__ = ["CatalogueSet", "load_catalogue_set"]

logger = logging.getLogger(__name__)

_SHARD = 500


@dataclass(frozen=True, slots=True)
class CatalogueSet:
    """Pictures with their alt texts: `pixels` uint8 `[N, 96, 96, 3]`, `captions` N strings."""

    pixels: np.ndarray
    captions: Sequence[str]


def _render_shard(seed: int, total: int, file: str, start: int) -> list[str]:
    """Renders the shard that begins at row `start` into its place of the shared file; returns its alt texts."""
    pixels = np.lib.format.open_memmap(file, mode="r+")
    stop = min(start + _SHARD, total)
    rng = stream(seed, total, start // _SHARD, stop - start)
    captions = []
    for row in range(start, stop):
        image, caption = render_catalogue_item(rng)
        pixels[row] = np.asarray(image)
        captions.append(caption)
    return captions


def _render_all(folder: Path, count: int, seed: int, workers: int) -> None:
    """Renders all shards; the captions' file is written last and marks a complete set."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pictures.npy"
    shape = (count, CATALOGUE_SIZE, CATALOGUE_SIZE, 3)
    np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape).flush()
    starts = range(0, count, _SHARD)
    render = partial(_render_shard, seed, count, str(file))
    if workers == 1:
        captions = list(chain.from_iterable(map(render, starts)))
    else:
        # Workers are spawned: a fork would copy the parent's thread pools in an undefined state.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            captions = list(chain.from_iterable(pool.map(render, starts)))
    unfinished = folder / "captions.json.partial"
    unfinished.write_text(json.dumps({"seed": seed, "captions": captions}), encoding="utf-8")
    unfinished.replace(folder / "captions.json")


def load_catalogue_set(folder: Path, count: int, seed: int, workers: int = 1) -> CatalogueSet:
    """Opens the rendered set, rendering it first where it is missing.

    Args:
        folder: keeps `pictures.npy` and `captions.json`.
        count: number of pictures.
        seed: the catalogue's seed.
        workers: processes that render.

    Raises ValueError: the folder holds a set of another size or seed.
    """
    index = folder / "captions.json"
    if not index.exists():
        logger.info("rendering %d catalogue pictures into %s", count, folder)
        _render_all(folder, count, seed, workers)
    content = json.loads(index.read_text(encoding="utf-8"))
    captions = content["captions"]
    if (len(captions), content["seed"]) != (count, seed):
        raise ValueError(
            f"{index} holds {len(captions)} pictures of seed {content['seed']}, not {count} of seed {seed}: "
            "delete the folder or choose another"
        )
    return CatalogueSet(np.load(folder / "pictures.npy", mmap_mode="r"), captions)
