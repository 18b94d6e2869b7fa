"""Pretrains the stand-in CLIP on synthetic catalogue pictures.

    python -m benchmarks.stand_in.pretrain --output runs/stand_in --steps 3000 --batch_size 128 --seed 0 [--resume]

The stand-in is a `CLIPModel` of 1.66 M parameters that knows clothes and colours from catalogue pictures and has never
seen a street camera: something to adapt where no pretrained CLIP can be downloaded. The loss is CLIP's symmetric
InfoNCE (arXiv 2103.00020, figure 3). It runs on one CPU thread, about 0.3 s a step, and leaves in OUTPUT: `model/`
(loaded by `CLIPModel.from_pretrained`), `log.jsonl`, `zero_shot.json`, `checkpoint.pt` and the rendered pictures.
"""

import json
import logging
import math
import os
import platform
import time
from argparse import ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer, HfArgumentParser

from dataset_scripts.synthetic import render_person, stream
from modeling_prompt_clip.retrieval.metrics.query_metrics import RetrievalMetrics, retrieval_metrics

from .catalogue import render_catalogue_item
from .catalogue_set import CatalogueSet, load_catalogue_set
from .model import (
    build_model,
    image_embeds,
    learn_tokenizer,
    save_model,
    text_embeds,
    tokenize,
)

__all__ = ["PretrainArguments", "main", "pretrain"]

logger = logging.getLogger(__name__)

_LARGEST_LOGIT_SCALE = 100.0
HELD_OUT_PICTURES = 1000
_TOKENIZER_CAPTIONS = 20_000
_PLACES = ("output", "source_folder", "resume", "workers")


@dataclass
class PretrainArguments:
    """Arguments of the pretraining; the defaults are those of the shipped checkpoint.

    Raises ValueError: a number is below its least value.
    """

    output: str = field(metadata={"help": "Folder for the model, the log and the checkpoint."})
    steps: int = field(default=3000, metadata={"help": "Optimisation steps; the learning rate falls until the last."})
    batch_size: int = field(default=128, metadata={"help": "Pairs a step; all others of the batch are negatives."})
    seed: int = field(default=0, metadata={"help": "Seed of the weights, the pictures and the order of the batches."})
    resume: bool = field(default=False, metadata={"help": "Go on from OUTPUT/checkpoint.pt to the same weights."})
    source_pictures: int = field(default=120_000, metadata={"help": "Catalogue pictures to train on (28 kB each)."})
    source_folder: str | None = field(default=None, metadata={"help": "Where they are kept; default OUTPUT/source."})
    workers: int = field(default=2, metadata={"help": "Processes that render the catalogue pictures."})
    learning_rate: float = field(default=1e-3, metadata={"help": "Peak learning rate of AdamW."})
    weight_decay: float = field(default=0.02, metadata={"help": "Weight decay of AdamW."})
    warmup_steps: int = field(default=100, metadata={"help": "Steps of linear warm-up."})
    width: int = field(default=128, metadata={"help": "Width of both towers and of the shared space."})
    vision_layers: int = field(default=4, metadata={"help": "Layers of the vision tower."})
    text_layers: int = field(default=3, metadata={"help": "Layers of the text tower."})
    log_every: int = field(default=50, metadata={"help": "Steps between lines of the log."})
    evaluate_every: int = field(default=500, metadata={"help": "Steps between zero-shot checks on validation people."})
    checkpoint_every: int = field(default=500, metadata={"help": "Steps between checkpoints."})
    world_seed: int = field(default=0, metadata={"help": "Seed of the street world of the zero-shot checks."})
    validation_people: int = field(default=150, metadata={"help": "People of the checks, from person 800 on."})
    test_people: int = field(default=300, metadata={"help": "People of the final figures, from person 950 on."})

    def __post_init__(self):
        for name in (
            "steps", "batch_size", "source_pictures", "workers", "warmup_steps", "log_every", "evaluate_every",
            "checkpoint_every", "validation_people", "test_people",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")
        if self.source_pictures < self.batch_size:
            raise ValueError(
                f"source_pictures={self.source_pictures} does not fill a batch of batch_size={self.batch_size}: "
                "render more pictures or take smaller batches"
            )


@dataclass(frozen=True, slots=True)
class _PairSet:
    """A retrieval set: `pixels` uint8 `[G, H, W, 3]`, `input_ids` `[Q, L]`, and their owners."""

    pixels: Tensor
    input_ids: Tensor
    gallery_ids: Tensor
    query_ids: Tensor


def _street_pairs(tokenizer: CLIPTokenizer, seed: int, people: range, captions: int) -> _PairSet:
    """Every picture of these people in the street world `seed` with its captions."""
    shots = [shot for person in people for shot in render_person(seed, person, captions=captions)]
    owners = torch.tensor([shot.person_id for shot in shots])
    sentences = [caption for shot in shots for caption in shot.captions]
    pixels = torch.from_numpy(np.stack([np.asarray(shot.image) for shot in shots]))
    return _PairSet(pixels, tokenize(tokenizer, sentences), owners, owners.repeat_interleave(captions))


def _held_out_catalogue(tokenizer: CLIPTokenizer, seed: int) -> _PairSet:
    """Catalogue pictures that the training set does not hold; only a picture's own text retrieves it."""
    rng = stream(seed, 0, 0, 0)
    items = [render_catalogue_item(rng) for _ in range(HELD_OUT_PICTURES)]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image, _ in items]))
    owners = torch.arange(HELD_OUT_PICTURES)
    return _PairSet(pixels, tokenize(tokenizer, [caption for _, caption in items]), owners, owners)


@torch.no_grad()
def _measure(model: CLIPModel, pairs: _PairSet) -> RetrievalMetrics:
    """Zero-shot text-to-image retrieval over a set."""
    model.eval()
    gallery = torch.cat([image_embeds(model, block) for block in pairs.pixels.split(200)])
    queries = torch.cat([text_embeds(model, block) for block in pairs.input_ids.split(200)])
    model.train()
    return retrieval_metrics(queries, gallery, pairs.query_ids, pairs.gallery_ids)


def _contrastive_loss(images: Tensor, texts: Tensor, log_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of unit embeddings `[N, D]`: pair i is the only positive of row i and of column i."""
    logits = log_scale.clamp(max=math.log(_LARGEST_LOGIT_SCALE)).exp() * images @ texts.T
    targets = torch.arange(len(logits))
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def _learning_rate(step: int, arguments: PretrainArguments) -> float:
    """Linear warm-up times half a cosine, which ends at a fiftieth of the peak. `step` counts from 0."""
    warm = min(1.0, (step + 1) / arguments.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * step / arguments.steps))
    return arguments.learning_rate * warm * max(0.02, cosine)


def _batch_rows(step: int, count: int, arguments: PretrainArguments) -> np.ndarray:
    """The rows of one step, sorted: each epoch's permutation follows from seed and epoch only."""
    epoch, batch = divmod(step, count // arguments.batch_size)
    order = np.random.default_rng((arguments.seed, epoch)).permutation(count)
    return np.sort(order[batch * arguments.batch_size : (batch + 1) * arguments.batch_size])


def train_step(
    model: CLIPModel, optimizer: torch.optim.Optimizer, pixels: Tensor, input_ids: Tensor, rate: float
) -> float:
    """One step of AdamW in bfloat16 autocast with the gradient's norm clipped to 1; returns the loss."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast("cpu", torch.bfloat16):
        images, texts = image_embeds(model, pixels), text_embeds(model, input_ids)
    loss = _contrastive_loss(images, texts, model.logit_scale)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


class _Log:
    """JSON lines in a file and in the program's log. A resumed run drops lines after its checkpoint."""

    def __init__(self, path: Path, steps_done: int):
        lines = path.read_text(encoding="utf-8").splitlines() if steps_done and path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= steps_done]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._path = path

    def write(self, **values: float) -> None:
        """Appends one line."""
        line = json.dumps(values)
        logger.info("%s", line)
        with open(self._path, "a", encoding="utf-8") as handle:
            handle.write(line + "\n")


def _save_checkpoint(path: Path, state: dict) -> None:
    """Saves so that a kill at any instant leaves either the old file or the new one."""
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as handle:
        torch.save(state, handle)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)


def _restore(path: Path, model: CLIPModel, optimizer: torch.optim.Optimizer, arguments: PretrainArguments) -> int:
    """Loads a checkpoint into model and optimizer; returns the number of steps done.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it was written with other settings, so that going on would give other weights.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: run without --resume to start over")
    state = torch.load(path, weights_only=True)
    for name in ("steps", "batch_size", "seed", "source_pictures", "learning_rate", "weight_decay", "warmup_steps"):
        before, now = state["arguments"][name], getattr(arguments, name)
        if before != now:
            raise ValueError(f"{name}={now}, but {path} was written with {name}={before}: use that or start over")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


def _train(
    model: CLIPModel,
    source: CatalogueSet,
    input_ids: Tensor,
    checks: Mapping[str, _PairSet],
    arguments: PretrainArguments,
) -> None:
    """All steps from the checkpoint (or the start) to the end, with log, checks and checkpoints."""
    checkpoint = Path(arguments.output) / "checkpoint.pt"
    optimizer = torch.optim.AdamW(
        model.parameters(), arguments.learning_rate, (0.9, 0.98), weight_decay=arguments.weight_decay, fused=True
    )
    done = _restore(checkpoint, model, optimizer, arguments) if arguments.resume else 0
    log = _Log(Path(arguments.output) / "log.jsonl", done)
    model.train()
    losses: list[float] = []
    started = time.perf_counter()
    for step in range(done, arguments.steps):
        rows = _batch_rows(step, len(source.pixels), arguments)
        pixels = torch.from_numpy(source.pixels[rows])
        pixels = pixels.flip(2) if step % 2 else pixels
        losses.append(train_step(model, optimizer, pixels, input_ids[rows], _learning_rate(step, arguments)))
        done, last = step + 1, step + 1 == arguments.steps
        if done % arguments.log_every == 0 or last:
            speed = len(losses) * arguments.batch_size / (time.perf_counter() - started)
            loss, scale = sum(losses) / len(losses), model.logit_scale.exp().item()
            log.write(step=done, loss=round(loss, 4), logit_scale=round(scale, 2), images_per_s=round(speed, 1))
            losses, started = [], time.perf_counter()
        if done % arguments.evaluate_every == 0 or last:
            with torch.autocast("cpu", torch.bfloat16):
                figures = {f"{name} R@1": round(_measure(model, pairs).rank_1, 2) for name, pairs in checks.items()}
            log.write(step=done, **figures)
            started = time.perf_counter()
        if done % arguments.checkpoint_every == 0 or last:
            state = {"step": done, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            _save_checkpoint(checkpoint, {**state, "arguments": asdict(arguments)})


def _zero_shot_figures(model: CLIPModel, tokenizer: CLIPTokenizer, arguments: PretrainArguments) -> dict[str, dict]:
    """The final figures in float32: the street's test people, two captions a picture, and the held-out catalogue."""
    people = range(950, 950 + arguments.test_people)
    sets = {
        "street test": _street_pairs(tokenizer, arguments.world_seed, people, captions=2),
        "catalogue held out": _held_out_catalogue(tokenizer, arguments.seed),
    }
    return {name: _measure(model, pairs).to_dict() for name, pairs in sets.items()}


def _describe_run(model: CLIPModel, arguments: PretrainArguments, seconds: float) -> dict:
    """Arguments, size, time, machine and versions of the run."""
    packages = ("torch", "transformers", "tokenizers", "numpy", "pillow")
    return {
        "arguments": {name: value for name, value in asdict(arguments).items() if name not in _PLACES},
        "parameters": model.num_parameters(),
        "seconds": round(seconds),
        "finished": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, 1 thread used",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


def pretrain(arguments: PretrainArguments) -> CLIPModel:
    """Renders the pictures, learns the tokenizer, trains, measures, and writes everything into the output folder."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    folder = Path(arguments.source_folder) if arguments.source_folder else output / "source"
    source = load_catalogue_set(folder, arguments.source_pictures, arguments.seed, arguments.workers)
    tokenizer = learn_tokenizer(source.captions[:_TOKENIZER_CAPTIONS])
    torch.manual_seed(arguments.seed)
    model = build_model(tokenizer, arguments.width, arguments.vision_layers, arguments.text_layers)
    # For a few dozen tokens in bfloat16 on a CPU, twice as fast as the fused kernel with its slow backward pass.
    model.set_attn_implementation("eager")
    people = range(800, 800 + arguments.validation_people)
    checks = {
        "validation": _street_pairs(tokenizer, arguments.world_seed, people, captions=1),
        "catalogue": _held_out_catalogue(tokenizer, arguments.seed),
    }
    _train(model, source, tokenize(tokenizer, source.captions), checks, arguments)
    save_model(model, tokenizer, output / "model")
    figures = _zero_shot_figures(model, tokenizer, arguments)
    report = {"zero_shot": figures, "run": _describe_run(model, arguments, time.perf_counter() - started)}
    (output / "zero_shot.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    logger.info("zero-shot R@1: %s", {name: round(values["R@1"], 2) for name, values in figures.items()})
    return model


class _HelpFormatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the lines of the description and adds each argument's default."""


def main() -> None:
    """Command line of the pretraining."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = HfArgumentParser(PretrainArguments, description=__doc__, formatter_class=_HelpFormatter)
    (arguments,) = parser.parse_args_into_dataclasses()
    pretrain(arguments)


if __name__ == "__main__":
    main()
