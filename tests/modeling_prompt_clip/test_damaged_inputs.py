"""Every damaged model, adapter, checkpoint and gallery ends soon, small, and in one line."""

import json
from pathlib import Path

import pytest
from PIL import Image

from damaged_models import KINDS, Sources, damaged
from forked import run_forked, wrong_ending

SEEDS = {
    "settings": 90,
    "weights": 25,
    "index": 15,
    "pickle": 25,
    "missing": 20,
    "adapter": 45,
    "checkpoint": 25,
    "gallery": 25,
}
CASES = [(kind, seed) for kind in KINDS for seed in range(SEEDS[kind])]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_ends_in_one_line(
    kind: str,
    seed: int,
    tiny_clip_folder: Path,
    tiny_folder: Path,
    tiny_adapter_folder: Path,
    pictures: list[Image.Image],
    tmp_path: Path,
):
    sources = Sources(tiny_clip_folder, tiny_folder, tiny_adapter_folder, pictures)
    arguments, names = damaged(kind, seed, sources, tmp_path)
    outcome = run_forked(arguments, tmp_path, seconds=60)  # twice of what a busy machine takes to export
    fault = wrong_ending(outcome, *names)
    assert not fault, f"{arguments}: {fault}"
    assert "executed" not in outcome.stdout
    if outcome.status == 0 and "--json" in arguments:
        json.loads(outcome.stdout)
