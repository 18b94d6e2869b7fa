"""The cases of `train_step.py`: our training step and the reference's, at the same size on the same random batches.

Ours is the trainer's own code: `StageLoop` with its optimizer, schedule, precision and gradient clipping, the PEFT
adapter or the merged prompts, the collator that pads captions to the longest of the batch, the recipe's losses.
"""

import json
import random
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from peft import get_peft_model

from benchmarks.speed.reference_step import CONTEXT, ReferenceClip, ReferenceStep
from benchmarks.speed.train_step import Case, Settings, is_ours
from modeling_prompt_clip import DeepPromptConfig, PromptCLIPConfig, PromptCLIPModel
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.configs.recipes import read_recipe
from trainers.data.pairs import PairCollator
from trainers.objectives import CombinedObjective
from trainers.stages.loop import StageLoop
from trainers.stages.module import StageModule

PROMPTS = 4
PERSONS = 11_003  # of CUHK-PEDES's training split: the width of the identity classifier
BATCHES = 8  # different ones, taken in turns


def model_config(tiny: bool, prompts: int) -> PromptCLIPConfig:
    """CLIP ViT-B/16 at 384x128, or a model of a few thousand weights for tests."""
    prompted = {"prompt_length": prompts}
    if tiny:
        tower = {"hidden_size": 32, "intermediate_size": 128, "num_attention_heads": 2, "num_hidden_layers": 2}
        vision, text, dim = tower | {"image_size": [64, 32], "patch_size": 16}, tower | {"vocab_size": 1000}, 16
    else:
        vision, text, dim = {"image_size": [384, 128], "patch_size": 16}, {"vocab_size": 49408}, 512
    # transformers' defaults are ViT-B's widths; eos_token_id 2 is what OpenAI's checkpoints say: the highest id ends
    text |= {"eos_token_id": 2, "bos_token_id": text["vocab_size"] - 2}
    return PromptCLIPConfig(vision_config=vision | prompted, text_config=text | prompted, projection_dim=dim)


def caption_lengths(count: int) -> list[int]:
    """Tokens of captions of about 25 words, start and end included: 30 on average, seldom above 50."""
    draw = random.Random(0)
    return [min(CONTEXT - PROMPTS, max(14, round(draw.gauss(30, 8)))) for _ in range(count)]


def pairs(config: PromptCLIPConfig, count: int) -> list[dict[str, object]]:
    """Random pairs in the shape of `CaptionPairs`' rows."""
    vocabulary = config.text_config.vocab_size
    size = (3, *config.vision_config.image_size)
    return [
        {
            "pixel_values": torch.randn(size),
            "input_ids": [vocabulary - 2, *torch.randint(1, vocabulary - 2, (length - 2,)).tolist(), vocabulary - 1],
            "person_id": row,
            "label": row,
            "image_row": row,
        }
        for row, length in enumerate(caption_lengths(count))
    ]


def batches_of(case: Case, settings: Settings) -> list[dict[str, torch.Tensor]]:
    """The batches of a case: padded by our collator, or to the context as the reference does."""
    set_seed(0)
    config = model_config(settings.tiny, PROMPTS)
    rows = pairs(config, settings.batch_size * BATCHES)
    collate = PairCollator(pad_token_id=config.text_config.vocab_size - 1)
    groups = [rows[start : start + settings.batch_size] for start in range(0, len(rows), settings.batch_size)]
    batches = [collate(group) for group in groups]
    if not is_ours(case):
        room = CONTEXT if case.stage == "direct" else CONTEXT - PROMPTS  # prompts take places of the context
        for batch in batches:
            ids = batch["input_ids"]
            batch["input_ids"] = torch.nn.functional.pad(ids, (0, room - ids.shape[1]))
    return [{name: value.to(settings.device) for name, value in batch.items()} for batch in batches]


class TimedBatches:
    """Batches handed out on command; a step lasts until the next batch is requested.

    Talks with the parent process: a line on stdin starts a step, a line of JSON on stdout says how long it took.
    """

    def __init__(self, batches: list[dict[str, torch.Tensor]], settings: Settings) -> None:
        self.batches, self.settings = batches, settings
        self.started: tuple[float, float] | None = None

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for step in range(self.settings.steps):
            self.finish()
            sys.stdin.readline()
            self.started = time.perf_counter(), time.process_time()
            yield self.batches[step % len(self.batches)]
        self.finish()

    def finish(self) -> None:
        """Report the running step, if there is one."""
        if self.started is None:
            return
        if self.settings.device == "cuda":
            torch.cuda.synchronize()
        wall, cpu = self.started
        tell({"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu})
        self.started = None


def tell(answer: dict[str, float]) -> None:
    """Send one line to the parent process."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def our_loop(case: Case, settings: Settings, batches: Iterable[dict[str, torch.Tensor]]) -> StageLoop:
    """A `StageLoop` set up as `TwoStageTrainer` does, that takes a step for each of `settings.steps` batches."""
    args = TwoStageTrainingArguments(
        **read_recipe("cuhk_pedes")
        | {
            "mixed_precision": "bf16" if case.precision == "bf16" else "no",
            "batch_size": settings.batch_size,
            "report_to": "none",
            "log_steps": settings.steps,
            "compile": case.implementation == "ours_compiled",
            "gradient_checkpointing": case.implementation == "ours_checkpointed",
        }
    )
    name = "one" if case.stage == "one" else "two"
    accelerator = Accelerator(mixed_precision=args.mixed_precision, cpu=settings.device == "cpu")
    model = PromptCLIPModel(model_config(settings.tiny, PROMPTS if case.stage == "two" else 0))
    model.to(accelerator.device)
    if name == "one":
        model = get_peft_model(model, DeepPromptConfig(text_prompt_length=PROMPTS, vision_prompt_length=PROMPTS))
    else:
        model.requires_grad_(True)
        model.logit_scale.requires_grad_(False)
    return StageLoop(
        accelerator,
        args,
        args.stage(name),
        StageModule(model, objective_of(args, name, settings)),
        batches,
        total_steps=settings.steps,
        eval_steps=settings.steps,
        evaluate=None,
        keep=lambda step: None,
        log=None,
    )


def run_reference(case: Case, settings: Settings, batches: TimedBatches) -> None:
    """The reference's steps."""
    args = TwoStageTrainingArguments(**read_recipe("cuhk_pedes"))
    prompts = 0 if case.stage == "direct" else PROMPTS
    step = ReferenceStep(
        ReferenceClip(model_config(settings.tiny, 0), prompts).to(settings.device),
        objective_of(args, "one" if case.stage == "one" else "two", settings).to(settings.device),
        case.stage,
        frozen=case.implementation == "reference_frozen",
        bf16=case.precision == "bf16",
    )
    for batch in batches:
        step(batch)


def objective_of(args: TwoStageTrainingArguments, stage: str, settings: Settings) -> CombinedObjective:
    """The recipe's losses of a stage."""
    return CombinedObjective(
        args.stage(stage).objectives,
        args.objective_options(),
        embedding_dim=model_config(settings.tiny, 0).projection_dim,
        num_identities=PERSONS,
    )


def forward_flops(config: PromptCLIPConfig, tokens: int) -> float:
    """Floating-point operations that CLIP's forward pass needs for one image and one caption of `tokens` tokens.

    Matrix products alone, a product and a sum counted as two: 24 d^2 a token and layer for the projections and the
    perceptron, 4 T d for the attention, without prompts.
    """
    vision, text = config.vision_config, config.text_config
    patches = (vision.image_size[0] // vision.patch_size) * (vision.image_size[1] // vision.patch_size)
    embedding = 2 * patches * 3 * vision.patch_size**2 * vision.hidden_size
    towers = ((vision, patches + 1), (text, tokens))
    layers = (t.num_hidden_layers * count * (24 * t.hidden_size**2 + 4 * count * t.hidden_size) for t, count in towers)
    return float(embedding + sum(layers))


def needed_flops(case: Case, settings: Settings) -> float:
    """The operations that a step needs at least: the captions' own tokens, no padding.

    Stage one needs the forward pass and the gradient of the activations, the others that of the weights too.
    """
    config = model_config(settings.tiny, 0)
    lengths = caption_lengths(settings.batch_size * BATCHES)
    mean = sum(forward_flops(config, length) for length in lengths) / len(lengths)
    return settings.batch_size * mean * (2 if case.stage == "one" else 3)


def peak_bytes(device: str) -> int:
    """Peak memory of this process: torch's share on a GPU, the whole process on a CPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def measure(case: Case, settings: Settings) -> None:
    """Run a case's steps at the parent's command, then report the peak memory."""
    torch.set_num_threads(settings.threads)
    batches = TimedBatches(batches_of(case, settings), settings)
    set_seed(0)
    if is_ours(case):
        our_loop(case, settings, batches).run()
    else:
        run_reference(case, settings, batches)
    batches.finish()
    device = torch.cuda.get_device_name() if settings.device == "cuda" else "cpu"
    tell({"peak_bytes": peak_bytes(settings.device), "flops": needed_flops(case, settings), "device": device})


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(Case(**json.loads(sys.argv[1])), Settings(**json.loads(sys.argv[2])))
