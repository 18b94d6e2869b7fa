"""How many pictures, captions included, does one core render in a second, street and catalogue?

One process, one thread, processor time instead of wall time, so that other programs on the machine do not blur the
answer. Writes benchmarks/results/renderer.json.
"""

import statistics
import time
from collections.abc import Callable

from benchmarks.record import write_record
from benchmarks.stand_in.catalogue import render_catalogue_item
from dataset_scripts.synthetic import render_person, stream

ROUNDS, PICTURES_A_ROUND = 5, 800
TARGET_PICTURES_A_SECOND = 300


def render_street(pictures: int) -> None:
    """48 x 144, four pictures a person, two captions a picture."""
    for person_id in range(pictures // 4):
        render_person(0, person_id)


def render_catalogue(pictures: int) -> None:
    """96 x 96, one text a picture."""
    rng = stream(0)
    for _ in range(pictures):
        render_catalogue_item(rng)


def measure(domain: str, render: Callable[[int], None]) -> dict:
    render(20)
    speeds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        render(PICTURES_A_ROUND)
        speeds.append(PICTURES_A_ROUND / (time.process_time() - started))
    return {
        "domain": domain,
        "pictures_a_second_median": round(statistics.median(speeds)),
        "pictures_a_second_best": round(max(speeds)),
        "rounds": ROUNDS,
        "pictures_a_round": PICTURES_A_ROUND,
    }


def main() -> None:
    results = [measure("street", render_street), measure("catalogue", render_catalogue)]
    write_record(
        "renderer",
        __doc__.splitlines()[0],
        ("pillow", "numpy"),
        threads_used=1,
        target=f"at least {TARGET_PICTURES_A_SECOND} street pictures a second on one core",
        target_met=results[0]["pictures_a_second_median"] >= TARGET_PICTURES_A_SECOND,
        results=results,
    )


if __name__ == "__main__":
    main()
