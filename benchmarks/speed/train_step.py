"""How fast is a training step beside what the field runs, and how much memory does it take?

Ours and a reference (`reference_step.py`, which lists what it does as the field does) at the size of CLIP ViT-B/16,
images of 384x128, random weights, captions of about 25 words; for stage one, stage two and direct fine-tuning; in
float32 and under bf16 autocast. Every case is a process of its own; all cases of a stage take turns, one step each, so
that whatever else the machine does hits them alike, and ratios are medians over the turns. Prints the table of
docs/performance.md and writes benchmarks/results/train_step.json, on a GPU train_step_cuda.json; --quick writes
nothing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.record import ROOT, write_record

STAGES = ("one", "two", "direct")
WARMUP = 2  # steps: the first ones build the optimizer's state and choose kernels
# dense peak operations a second by the maker's data sheets, without sparsity; float32 outside the tensor cores
PEAKS = {
    "H100": {"bf16": 989e12, "float32": 67e12},
    "H200": {"bf16": 989e12, "float32": 67e12},
    "A100": {"bf16": 312e12, "float32": 19.5e12},
}


@dataclass(frozen=True)
class Case:
    """What one child process measures."""

    # "ours", "ours_compiled" (`--compile`), "ours_checkpointed" (`--gradient_checkpointing`), "reference", or
    # "reference_frozen" (see `ReferenceStep`)
    implementation: str
    stage: str  # "one", "two" or "direct"
    precision: str  # "float32", or "bf16" for autocast


def is_ours(case: Case) -> bool:
    """Whether a case runs our trainer."""
    return case.implementation.startswith("ours")


@dataclass(frozen=True)
class Settings:
    """What all cases share: pairs in a batch, "cpu" or "cuda", torch's threads, steps in all, the tiny model."""

    batch_size: int
    device: str
    threads: int
    steps: int
    tiny: bool


class Child:
    """A process that measures one case, a step at a time.

    Raises RuntimeError: the process ended early; with its last words.
    """

    def __init__(self, case: Case, settings: Settings) -> None:
        self.case = case
        module = "benchmarks.speed.step_cases"
        command = [sys.executable, "-m", module, json.dumps(asdict(case)), json.dumps(asdict(settings))]
        self.errors = tempfile.TemporaryFile("w+")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors, "text": True, "cwd": ROOT}
        self.process = subprocess.Popen(command, **pipes)
        self.steps: list[dict[str, float]] = []

    def step(self) -> None:
        """Let it run one step and wait."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.steps.append(self.answer())

    def answer(self) -> dict[str, Any]:
        """Its next line."""
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            self.errors.seek(0)
            raise RuntimeError(f"{self.case} ended early with status {status}:\n{self.errors.read()[-3000:]}")
        return json.loads(line)

    def result(self, batch_size: int) -> dict[str, Any]:
        """Its figures, once it has run all steps."""
        last = self.answer()
        self.process.communicate()
        steps = self.steps[WARMUP:]
        seconds = statistics.median(step["seconds"] for step in steps)
        figures = {
            **asdict(self.case),
            "images_per_second": round(batch_size / seconds, 3),
            "seconds": round(seconds, 4),
            "best_seconds": round(min(step["seconds"] for step in steps), 4),
            "cpu_seconds": round(statistics.median(step["cpu_seconds"] for step in steps), 4),
            "peak_mib": round(last["peak_bytes"] / 2**20),
            "needed_gflop_per_second": round(last["flops"] / seconds / 1e9, 1),
        }
        for name, peaks in PEAKS.items():
            if name in last["device"]:
                figures["device"] = last["device"]
                figures["model_flops_utilisation"] = round(last["flops"] / seconds / peaks[self.case.precision], 4)
        return figures


def groups_of(stage: str, precisions: list[str]) -> list[list[Case]]:
    """Cases of a stage that take turns, as many as fit into 24 GiB: ours and the reference, then ours with options."""
    names = ["ours", "reference"] + (["reference_frozen"] if stage == "one" else [])
    groups = [[Case(name, stage, precision) for precision in precisions for name in names]]
    if stage != "direct" and "bf16" in precisions:
        groups.append([Case(name, stage, "bf16") for name in ("ours", "ours_compiled", "ours_checkpointed")])
    return groups


def run_group(cases: list[Case], settings: Settings) -> tuple[list[dict], list[dict]]:
    """All these cases, in turns: their figures, and the ratios of others to ours."""
    children = [Child(case, settings) for case in cases]
    try:
        for turn in range(settings.steps):
            for child in children if turn % 2 else reversed(children):
                child.step()
        figures = [child.result(settings.batch_size) for child in children]
    finally:
        for child in children:
            child.process.kill()
    steps = {child.case: child.steps[WARMUP:] for child in children}
    ratios = [
        {"stage": ours.stage, "ours": ours.precision, "other": other.implementation, "precision": other.precision}
        | {key: ratio(steps[other], steps[ours], key) for key in ("seconds", "cpu_seconds")}
        for ours in cases
        for other in cases
        if ours.implementation == "ours" and ours != other and other.precision in (ours.precision, "float32")
    ]
    return figures, ratios


def ratio(others: list[dict[str, float]], ours: list[dict[str, float]], key: str) -> float:
    """How many times as long the others take: the median over the turns."""
    return round(statistics.median(other[key] / own[key] for other, own in zip(others, ours, strict=True)), 3)


def table(figures: list[dict], ratios: list[dict]) -> str:
    """The figures in Markdown, a row for each case, with its time over that of ours in each precision."""
    lines = [
        "| stage | step | precision | images/s | peak memory, MiB | time over ours in float32 | over ours in bf16 |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    times = {(row["stage"], row["other"], row["precision"], row["ours"]): row["seconds"] for row in ratios}
    for row in figures:
        case = row["stage"], row["implementation"], row["precision"]
        cells = [f"{times[*case, ours]:.2f}" if (*case, ours) in times else "" for ours in ("float32", "bf16")]
        name = row["implementation"].replace("_", ", ")
        measured = f"{row['images_per_second']:.2f} | {row['peak_mib']}"
        lines.append(f"| {row['stage']} | {name} | {row['precision']} | {measured} | {cells[0]} | {cells[1]} |")
    for row in figures:
        if "model_flops_utilisation" in row:
            name = f"stage {row['stage']}, {row['implementation'].replace('_', ', ')}, {row['precision']}"
            lines.append(f"\n{name}: {row['model_flops_utilisation']:.1%} of the device's peak.")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", type=int, default=8, help="pairs in a step (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bf16"), help="one precision alone; both by default")
    parser.add_argument("--stage", choices=STAGES, help="one stage alone; all three by default")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads in each process (default: 1)")
    parser.add_argument("--steps", type=int, default=5, help="measured steps a case (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one measured step, to see that it runs; writes nothing")
    parser.add_argument("--tiny", action="store_true", help="a model of a few thousand weights; goes with --quick")
    options = parser.parse_args()
    if options.tiny and not options.quick:
        parser.error("--tiny measures nothing worth a record; add --quick")
    if min(options.batch_size - 1, options.threads, options.steps) < 1:
        parser.error("--batch_size must be at least 2, --threads and --steps at least 1")
    return options


def main() -> None:
    options = parse()
    settings = Settings(
        batch_size=options.batch_size,
        device=options.device,
        threads=options.threads,
        steps=WARMUP + (1 if options.quick else options.steps),
        tiny=options.tiny,
    )
    precisions = [options.dtype] if options.dtype else ["float32", "bf16"]
    figures: list[dict] = []
    ratios: list[dict] = []
    for stage in [options.stage] if options.stage else STAGES:
        for cases in groups_of(stage, precisions):
            more_figures, more_ratios = run_group(cases, settings)
            known = {(row["implementation"], row["stage"], row["precision"]) for row in figures}
            figures += [row for row in more_figures if (row["implementation"], stage, row["precision"]) not in known]
            ratios += more_ratios
    if not options.quick:
        write_record(
            "train_step" if options.device == "cpu" else "train_step_cuda",
            __doc__.splitlines()[0],
            ("torch", "transformers", "peft", "accelerate"),
            settings=asdict(settings) | {"warm_up_steps": WARMUP},
            cases=figures,
            times_as_long_as_ours=ratios,
        )
    print(table(figures, ratios))


if __name__ == "__main__":
    main()
