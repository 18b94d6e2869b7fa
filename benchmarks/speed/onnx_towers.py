"""Is onnxruntime faster than torch at embedding captions and images on a CPU, and how near does it come?

    python -m benchmarks.speed.onnx_towers [--rounds 5]

A CLIP ViT-B/16 at 384x128 with four prompts in each layer and random weights, exported by `write_onnx`; captions of 30
tokens. torch in float32, torch in bf16 and onnxruntime take turns on one thread each. Counted is processor time, since
other work on the machine adds none to it; each figure is a median over the rounds, a ratio the median of the rounds'
ratios. Writes benchmarks/results/onnx_towers.json.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch

from benchmarks.record import write_record
from modeling_prompt_clip import PromptCLIPConfig, PromptCLIPModel
from modeling_prompt_clip.export.check import check_onnx
from modeling_prompt_clip.export.towers import ImageTower, TextTower, Tower, exportable_copy, write_onnx

TOKENS = 30
END_ID = 49407
BATCHES = {"text.onnx": (1, 32), "image.onnx": (1, 8)}
TORCH, BF16, ONNX = "torch, float32", "torch, bf16", "onnxruntime, float32"


def vit_b16() -> PromptCLIPModel:
    """CLIP ViT-B/16 (transformers' default widths) with prompts and random weights."""
    torch.manual_seed(0)
    text = {"vocab_size": END_ID + 1, "eos_token_id": END_ID, "prompt_length": 4}
    vision = {"image_size": [384, 128], "patch_size": 16, "prompt_length": 4}
    return exportable_copy(PromptCLIPModel(PromptCLIPConfig(text_config=text, vision_config=vision)))


def inputs_of(tower: Tower, count: int) -> torch.Tensor:
    """A batch of captions of `TOKENS` tokens each, or of noise images."""
    generator = torch.Generator().manual_seed(1)
    if isinstance(tower, ImageTower):
        return torch.randn(count, *tower.input_shape[1:], generator=generator)
    input_ids = torch.randint(END_ID, (count, TOKENS), generator=generator)
    input_ids[:, -1] = END_ID
    return input_ids


def processor_seconds(run: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def compare(tower: Tower, half: Tower, session: onnxruntime.InferenceSession, count: int, rounds: int) -> dict:
    """Time three runtimes in turns on one batch, after a round of warm-up."""
    batch = inputs_of(tower, count)
    runs = {
        TORCH: lambda: tower(batch),
        BF16: lambda: half(batch),
        ONNX: lambda: session.run(None, {tower.input_name: batch.numpy()}),
    }
    with torch.inference_mode():
        turns = [{name: processor_seconds(run) for name, run in runs.items()} for _ in range(rounds + 1)][1:]
    return {
        "graph": tower.file_name,
        "batch": count,
        "milliseconds": {name: round(1000 * statistics.median(turn[name] for turn in turns), 1) for name in runs},
        "times_as_long_as_onnxruntime": {
            name: round(statistics.median(turn[name] / turn[ONNX] for turn in turns), 2) for name in (TORCH, BF16)
        },
    }


def table(results: list[dict]) -> str:
    """The results in Markdown, a row for each graph and batch."""
    lines = [f"| graph | batch | {TORCH}, ms | {BF16}, ms | {ONNX}, ms |", "|---|---:|---:|---:|---:|"]
    for result in results:
        cells = [f"{result['milliseconds'][name]:.0f}" for name in (TORCH, BF16, ONNX)]
        lines.append(f"| `{result['graph']}` | {result['batch']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns that count (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    one_thread = onnxruntime.SessionOptions()
    one_thread.intra_op_num_threads = 1
    model = vit_b16()
    in_half = copy.deepcopy(model).bfloat16()
    pairs = [(TextTower(each, END_ID, END_ID), ImageTower(each)) for each in (model, in_half)]
    results, deviations = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for tower, half in zip(*pairs, strict=True):
            path = write_onnx(tower, Path(folder))
            deviations[tower.file_name] = check_onnx(path, tower)
            session = onnxruntime.InferenceSession(path, one_thread)
            results += [compare(tower, half, session, count, options.rounds) for count in BATCHES[tower.file_name]]
    write_record(
        "onnx_towers",
        __doc__.splitlines()[0],
        ("torch", "transformers", "onnx", "onnxscript", "onnxruntime"),
        threads_used=1,
        rounds=options.rounds,
        tokens=TOKENS,
        largest_deviation=deviations,
        results=results,
    )
    print(table(results))


if __name__ == "__main__":
    main()
