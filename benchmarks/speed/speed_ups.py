"""What does each speed-up of a training step bring?

    python -m benchmarks.speed.speed_ups [--rounds 4]

Our training step as it is, at the size of CLIP ViT-B/16 (see train_step.py), and with one speed-up at a time taken
away or one other thing tried, step by step in turns within one process. Counted is processor time, on a GPU wall time;
figures are medians over the rounds of a step's time over that of the step as it is in the same round. Writes
benchmarks/results/speed_ups.json, on a GPU speed_ups_cuda.json.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from unittest.mock import patch

import torch
from accelerate.state import AcceleratorState
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import eager_attention_forward

from benchmarks.record import write_record
from benchmarks.speed.reference_step import CONTEXT
from benchmarks.speed.step_cases import batches_of, our_loop
from benchmarks.speed.train_step import Case, Settings
from modeling_prompt_clip import PromptCLIPModel, prompted_attention
from modeling_prompt_clip.prompted_layers import SLOPE, QuickGELU
from trainers.stages.layer_modes import layer_modes
from trainers.stages.loop import StageLoop

AS_IT_IS = "as it is"
Toggle = Callable[[StageLoop], AbstractContextManager[object]]


def clip_of(loop: StageLoop) -> PromptCLIPModel:
    """The model that a loop trains."""
    return next(part for part in loop.module.modules() if isinstance(part, PromptCLIPModel))


def attention(name: str) -> Toggle:
    """Attention by transformers' function of this name, or by ours, "plain"."""
    known = {"plain": prompted_attention.plain_attention, "eager": eager_attention_forward}
    function = known.get(name) or ALL_ATTENTION_FUNCTIONS[name]
    return lambda loop: patch.object(prompted_attention, "attention_function", lambda *_: function)


def all_tokens(loop: StageLoop) -> AbstractContextManager[object]:
    """The last layers compute every token, of which one is used."""
    forward = PromptCLIPModel.forward
    return patch.object(PromptCLIPModel, "forward", lambda *args, pooled_only, **kwargs: forward(*args, **kwargs))


def written_out_gelu(loop: StageLoop) -> AbstractContextManager[object]:
    """Autograd keeps what each operation of the activation needs."""
    return patch.object(QuickGELU, "forward", lambda self, states: states * torch.sigmoid(SLOPE * states))


@contextmanager
def cast_at_each_use(loop: StageLoop) -> Iterator[None]:
    """Autocast casts the frozen weights; entered within a step, which puts the originals back itself."""
    for parameter, original, _ in loop.frozen_weights.weights:
        parameter.data = original
    yield


@contextmanager
def plain_optimizer(loop: StageLoop) -> Iterator[None]:
    """torch's optimizer without its fused kernels."""
    optimizer = loop.optimizer.optimizer
    settings = [optimizer.defaults, *optimizer.param_groups]
    for options in settings:
        options["fused"] = None
    vars(optimizer).pop("found_inf", None)  # which only the fused kernels take
    yield
    for options in settings:
        options["fused"] = True


@contextmanager
def channels_last(loop: StageLoop) -> Iterator[None]:
    """The kernel that embeds patches lies in memory channels last, and so do the images."""
    weight = clip_of(loop).vision_model.embeddings.patch_embedding.weight
    before = weight.data
    weight.data = before.contiguous(memory_format=torch.channels_last)
    yield
    weight.data = before


def checkpointed(loop: StageLoop) -> AbstractContextManager[object]:
    """As with --gradient_checkpointing."""
    return layer_modes(loop.module, compiled=False, checkpointed=True)


PADDED = "captions padded to 77 tokens"
# what is changed, and where it changes anything: a stage, a precision, or both
CHANGES: dict[str, tuple[Toggle, set[str]]] = {
    PADDED: (lambda loop: nullcontext(), set()),
    "last layers compute all tokens": (all_tokens, set()),
    "QuickGELU written out": (written_out_gelu, set()),
    "attention by torch's sdpa": (attention("sdpa"), {"bf16"}),
    "attention by transformers' eager": (attention("eager"), {"bf16"}),
    "attention written out": (attention("plain"), {"float32"}),
    "frozen weights cast at each use": (cast_at_each_use, {"one", "bf16"}),
    "optimizer without fused kernels": (plain_optimizer, {"two"}),
    "channels-last images": (channels_last, {"one"}),
    "gradient checkpointing": (checkpointed, set()),
}


class Turns:
    """A loop's batches, each under another change; a step lasts until the next batch is requested.

    Args:
        case: what is measured.
        settings: of the benchmark; `steps` is set to what the rounds need.
        rounds: measured steps of each change, after one that is not.
    """

    def __init__(self, case: Case, settings: Settings, rounds: int) -> None:
        self.changes = {AS_IT_IS: lambda loop: nullcontext()} | {
            name: toggle for name, (toggle, where) in CHANGES.items() if where <= {case.stage, case.precision}
        }
        self.times: dict[str, list[float]] = {name: [] for name in self.changes}
        self.rounds = rounds
        self.batch = batches_of(case, settings)[0]
        self.device = settings.device
        steps = (rounds + 1) * len(self.changes) + 1
        self.loop = our_loop(case, Settings(**asdict(settings) | {"steps": steps}), self)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for turn in range(self.rounds + 1):
            for name in list(self.changes) if turn % 2 else reversed(self.changes):
                batch = dict(self.batch)
                if name == PADDED:
                    ids = batch["input_ids"]
                    batch["input_ids"] = torch.nn.functional.pad(ids, (0, CONTEXT - ids.shape[1]))
                with self.changes[name](self.loop):
                    started = self.now()
                    yield batch
                    if turn:
                        self.times[name].append(self.now() - started)
        yield self.batch  # so that the last measured step comes to its end

    def now(self) -> float:
        """Processor time in seconds; on a GPU, wall time after synchronizing."""
        if self.device == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def figures(self) -> list[dict[str, object]]:
        """Seconds of a step under each change, and their ratio to the unchanged step."""
        base = self.times[AS_IT_IS]
        return [
            {
                "change": name,
                "seconds": round(statistics.median(times), 3),
                "times_as_long": round(statistics.median(a / b for a, b in zip(times, base, strict=True)), 3),
            }
            for name, times in self.times.items()
        ]


def table(cases: dict[str, list[dict[str, object]]]) -> str:
    """The results in Markdown, a row for each change."""
    by_case = {case: {row["change"]: row["times_as_long"] for row in rows} for case, rows in cases.items()}
    lines = ["| | " + " | ".join(by_case) + " |", "|---|" + "---:|" * len(by_case)]
    for change in CHANGES:
        cells = [f"{rows[change]:.2f}" if change in rows else "" for rows in by_case.values()]
        lines.append(f"| {change} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", type=int, default=8, help="pairs in a step (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, help="measured steps a change (default: %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="a model of a few thousand weights; writes nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = Settings(options.batch_size, options.device, options.threads, steps=0, tiny=options.tiny)
    cases = {}
    for stage in ("one", "two"):
        for precision in ("float32", "bf16"):
            turns = Turns(Case("ours", stage, precision), settings, options.rounds)
            turns.loop.run()
            name = f"stage {stage}, {precision}"
            cases[name] = turns.figures()
            print(
                name, *(f"  {row['times_as_long']:5.2f}  {row['change']}" for row in cases[name]), sep="\n", flush=True
            )
            del turns
            AcceleratorState._reset_state(reset_partial_state=True)  # which knows one precision
    if not options.tiny:
        write_record(
            "speed_ups" if options.device == "cpu" else "speed_ups_cuda",
            __doc__.splitlines()[0],
            ("torch", "transformers", "peft", "accelerate"),
            settings=asdict(settings) | {"rounds": options.rounds},
            cases=cases,
        )
    print(table(cases))


if __name__ == "__main__":
    main()
