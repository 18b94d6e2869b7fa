"""How long do the retrieval metrics of a benchmark take on one core, and how much memory?

Random embeddings in the sizes of the test splits of CUHK-PEDES and ICFG-PEDES, the same with each re-ranking, and for
the smaller also what the field's code does: the whole similarity matrix and a full argsort. The embeddings lie about
one centre a person, so that re-ranking finds neighbours to work on. Writes benchmarks/results/metrics.json.
"""

import os
import resource
import statistics
import time
from collections.abc import Callable
from multiprocessing import get_context

import torch

from benchmarks.record import write_record
from modeling_prompt_clip.retrieval import RERANKINGS, query_values, retrieval_metrics

# queries (captions), gallery (images), people, repeats
CUHK_PEDES = (6156, 3074, 1000, 7)
ICFG_PEDES = (19848, 19848, 1000, 3)
DIM = 512
# seconds and MiB of the plain metrics
TARGETS = {CUHK_PEDES: (1.0, 1536), ICFG_PEDES: (20.0, 1536)}


def random_split(queries: int, gallery: int, people: int) -> tuple[torch.Tensor, ...]:
    """Unit embeddings around one centre for each person, shifted between modalities; and person ids."""
    torch.manual_seed(0)
    centres = torch.randn(people, DIM)
    embeds = []
    for rows in (queries, gallery):
        noisy = centres[torch.arange(rows) % people] + 2 * torch.randn(rows, DIM) + torch.randn(DIM)
        embeds.append(torch.nn.functional.normalize(noisy, dim=1))
    return *embeds, torch.arange(queries) % people, torch.arange(gallery) % people


def by_full_argsort(text: torch.Tensor, image: torch.Tensor, text_ids: torch.Tensor, image_ids: torch.Tensor) -> dict:
    """Rank everything; the sort decides ties."""
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


def reranked(method: str) -> Callable[..., dict]:
    return lambda *split: query_values(*split, rerank=RERANKINGS[method]()).mean().to_dict()


def measure(method: str, queries: int, gallery: int, people: int, repeats: int) -> dict:
    """Time one method, in a process of its own so that peak memory is its own."""
    torch.set_num_threads(1)
    split = random_split(queries, gallery, people)
    functions = {"retrieval_metrics": by_blocks, "full argsort": by_full_argsort}
    function = functions.get(method) or reranked(method)
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
        "people": people,
        "dim": DIM,
        "seconds_median": round(statistics.median(seconds), 3),
        "seconds_min": round(min(seconds), 3),
        "cpu_seconds_median": round(statistics.median(cpu_seconds), 3),
        "repeats": repeats,
        "peak_memory_above_inputs_mib": round(grown / 1024),
        "mAP": metrics["mAP"],
    }


def target(size: tuple[int, ...], results: list[dict]) -> dict:
    """The limits for the plain metrics of a size, and whether they are kept."""
    seconds, mebibytes = TARGETS[size]
    plain = next(row for row in results if (row["method"], row["queries"]) == ("retrieval_metrics", size[0]))
    met = plain["seconds_median"] < seconds and plain["peak_memory_above_inputs_mib"] < mebibytes
    return {"queries": size[0], "gallery": size[1], "seconds": seconds, "mebibytes": mebibytes, "met": met}


def main() -> None:
    methods = ["retrieval_metrics", *RERANKINGS]
    jobs = [(method, *size) for size in TARGETS for method in methods]
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that are started, numpy's threads included
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        results = [pool.apply(measure, job) for job in [*jobs, ("full argsort", *CUHK_PEDES)]]
    write_record(
        "metrics",
        __doc__.splitlines()[0],
        ("torch", "numpy"),
        threads_used=1,
        targets=[target(size, results) for size in TARGETS],
        results=results,
    )


if __name__ == "__main__":
    main()
