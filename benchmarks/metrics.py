"""How long do the retrieval metrics of a benchmark take on one core, and how much memory?

Random embeddings in the sizes of the test splits of CUHK-PEDES and ICFG-PEDES; for the smaller also what the field's
code does: the whole similarity matrix and a full argsort. Writes benchmarks/results/metrics.json.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import resource
import statistics
import time
from multiprocessing import get_context

import torch

from modeling_prompt_clip.retrieval import retrieval_metrics
from record import write_record

# name: queries (captions), gallery (images), repeats
SIZES = {"CUHK-PEDES": (6156, 3074, 7), "ICFG-PEDES": (19848, 19848, 3)}
DIM = 512
TARGET_SECONDS = 1.0


def random_split(queries: int, gallery: int) -> tuple[torch.Tensor, ...]:
    """Unit embeddings and person ids, about three images a person as in CUHK-PEDES."""
    torch.manual_seed(0)
    text, image = (torch.nn.functional.normalize(torch.randn(rows, DIM), dim=1) for rows in (queries, gallery))
    people = gallery // 3
    return text, image, torch.arange(queries) % people, torch.arange(gallery) % people


def by_full_argsort(text: torch.Tensor, image: torch.Tensor, text_ids: torch.Tensor, image_ids: torch.Tensor) -> dict:
    """Ranks everything; ties fall as the sort has it."""
    order = (text @ image.T).argsort(dim=1, descending=True)
    right = image_ids[order] == text_ids[:, None]
    ranks = torch.arange(1, right.shape[1] + 1)
    counts = right.sum(dim=1)
    precision = right.cumsum(dim=1) / ranks
    last = (right * ranks).amax(dim=1)
    values = {f"R@{k}": right[:, :k].any(dim=1).float() for k in (1, 5, 10)}
    values |= {"mAP": (precision * right).sum(dim=1) / counts, "mINP": counts / last}
    return {name: 100 * value.mean().item() for name, value in values.items()}


def by_blocks(*split: torch.Tensor) -> dict:
    return retrieval_metrics(*split).to_dict()


def measure(method: str, queries: int, gallery: int, repeats: int) -> dict:
    """Runs in a process of its own, so that its peak memory is its own."""
    torch.set_num_threads(1)
    split = random_split(queries, gallery)
    function = {"retrieval_metrics": by_blocks, "full argsort": by_full_argsort}[method]
    function(*[part[:100] for part in split])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        metrics = function(*split)
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "method": method,
        "queries": queries,
        "gallery": gallery,
        "dim": DIM,
        "seconds_median": round(statistics.median(seconds), 3),
        "seconds_min": round(min(seconds), 3),
        "cpu_seconds_median": round(statistics.median(cpu_seconds), 3),
        "repeats": repeats,
        "peak_memory_above_inputs_mib": round(grown / 1024),
        "mAP": metrics["mAP"],
    }


def main() -> None:
    jobs = [("retrieval_metrics", *size) for size in SIZES.values()] + [("full argsort", *SIZES["CUHK-PEDES"])]
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        results = [pool.apply(measure, job) for job in jobs]
    write_record(
        "metrics",
        __doc__.splitlines()[0],
        ("torch", "numpy"),
        threads_used=1,
        target=f"{SIZES['CUHK-PEDES'][0]} x {SIZES['CUHK-PEDES'][1]} x {DIM} under {TARGET_SECONDS} s on one core",
        target_met=results[0]["seconds_median"] < TARGET_SECONDS,
        results=results,
    )


if __name__ == "__main__":
    main()
