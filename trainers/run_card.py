"""The card of a run: what was trained, on what, how well, and what it must not be used for."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainers.arguments import TwoStageTrainingArguments
from trainers.run_folder import RunFolder
from trainers.splits import resolve_source, source_label
from trainers.stage import StageResult

METRICS = ("R@1", "R@5", "R@10", "mAP", "mINP")
LIBRARIES = ("torch", "transformers", "peft", "accelerate")

CARD = """# {name}

A PromptCLIP for text-to-image person re-identification: a sentence is the query, the answer is a ranking of
person images. Trained in stages after "Prompt Decoupling" (arXiv 2401.02173) on `{dataset}`, from `{base_model}`,
with {height}x{width} images. Losses, schedule and prompt layout are this package's choices; nothing here claims to
reproduce the paper's table.

## Load it

```python
{snippet}
```

## Results

Every caption queries all images of the split; relevant = same person; ties are resolved pessimistically; no
re-ranking. Weights were selected by {selection}; the test split was evaluated once, at the end. In
brackets: 95 % intervals over persons (2,000 bootstrap draws); they do not say what another seed would change.

{results}

## Training

{training}

Every setting is in `config.yaml`; `prompt-clip train --config config.yaml --output_dir NEW` repeats the run.
Environment: {environment}.

## What it must not be used for

It finds people. Do not use it to identify, follow or profile anybody without a legal basis and, where the law asks for
it, consent; not for law enforcement, border control, employment or retail profiling; not to search by ethnicity,
religion, health or other protected attributes; not for any automatic decision about a person. In the European Union
remote biometric identification is prohibited or high-risk under the AI Act, and GDPR applies. A ranking always puts
somebody first: results are candidates for a person to check, never identities. Captions and cameras of the training
data are biased in dress, season, place and demographics, and so is the model. Embeddings of people are personal data:
keep them no longer than needed, and delete them on request.
"""


def write_run_card(
    run: RunFolder, args: TwoStageTrainingArguments, stages: Mapping[str, StageResult], notes: Sequence[str] = ()
) -> Path:
    """Write `README.md` into a run folder, from what the run measured and nothing else.

    Args:
        run: the folder.
        args: settings of the run.
        stages: how each stage ended.
        notes: sentences on the data, see [`RunSplits`].
    """
    entries = json.loads(run.results.read_text(encoding="utf-8"))
    selected = any(entry["split"] == "validation" and entry["stage"] != "base" for entry in entries)
    text = CARD.format(
        name=run.path.name,
        dataset=source_label(*resolve_source(args.dataset, args.data_dir)),
        base_model=args.base_model,
        height=args.image_size[0],
        width=args.image_size[1],
        snippet=loading_snippet("two" in stages),
        selection="R@1 on the validation split" if selected else "nothing: the last weights of each stage were kept",
        results=results_table(entries),
        training="\n".join(
            [*(stage_line(args, name, result) for name, result in stages.items()), *(f"- {note}" for note in notes)]
        ),
        environment=", ".join(
            [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in LIBRARIES)]
        ),
    )
    path = run.path / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def loading_snippet(has_model: bool) -> str:
    """Python lines that load what the run leaves, from within the run folder."""
    if has_model:
        return (
            "from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor\n\n"
            'model = PromptCLIPModel.from_pretrained("model").eval()\n'
            'processor = PromptCLIPProcessor.from_pretrained("model")'
        )
    return 'from modeling_prompt_clip.loading import load_model\n\nmodel, processor = load_model("adapter")'


def results_table(entries: list[dict[str, Any]]) -> str:
    """A Markdown table of `results.json`; figures of the test split with their intervals."""
    head = f"| method | split | direction | {' | '.join(METRICS)} |"
    rows = [
        f"| {entry['method']} | {entry['split']} | {entry['direction'].replace('_', ' ')} | "
        + " | ".join(_cell(entry, name) for name in METRICS)
        + " |"
        for entry in entries
    ]
    return "\n".join([head, "|---|---|---|" + "---:|" * len(METRICS), *rows])


def _cell(entry: dict[str, Any], name: str) -> str:
    """A figure, with its interval where it has one."""
    value = f"{entry['metrics'][name]:.2f}"
    if name not in entry.get("intervals", {}):
        return value
    low, high = entry["intervals"][name]
    return f"{value} ({low:.2f} to {high:.2f})"


def stage_line(args: TwoStageTrainingArguments, name: str, result: StageResult) -> str:
    """One line on what a stage did."""
    stage = args.stage(name)
    losses = ", ".join(f"{loss} x {weight:g}" for loss, weight in stage.objectives.items())
    trained = {"one": "prompts only, CLIP frozen", "two": "CLIP, its prompts fixed"}[name]
    if args.direct:
        trained = "CLIP, without prompts (direct fine-tuning)"
    if name == "two" and args.stage_two_lora_rank:
        trained += f", by low-rank updates (LoRA, rank {args.stage_two_lora_rank}) that are merged now"
    return (
        f"- Stage {name}: {trained}; {losses}; {args.optimizer}, learning rate {stage.learning_rate:g}, batch "
        f"{args.batch_size} a process; {result.steps} steps in {result.seconds:.0f} s, step {result.best_step} kept."
    )


__all__ = ["write_run_card"]
