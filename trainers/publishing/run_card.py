"""The cards in a run folder: the run's and its adapter's."""

import os
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import PartialState
from huggingface_hub import ModelCardData

from dataset_scripts.common.files import write_atomically
from dataset_scripts.common.text.markdown import as_code, as_text
from modeling_prompt_clip.configuration_prompt_clip import PromptCLIPConfig
from modeling_prompt_clip.hub.card_facts import ModelCardFacts, Snippet
from modeling_prompt_clip.hub.model_card import (
    TAGS,
    adapter_loading,
    hub_name,
    model_details,
    render_model_card,
    with_front_matter,
)
from trainers.arguments.fields import rules
from trainers.arguments.resolved import UNNAMED_DATA, UNNAMED_MODEL, map_sources
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.publishing.card_recipe import recipe_points
from trainers.publishing.card_results import not_measured, protocol, results_table
from trainers.publishing.card_sources import all_sources, data_sources, is_drawn, public_value
from trainers.run_folder.folder import RunFolder
from trainers.run_folder.results import StageResult

LIBRARIES = ("torch", "transformers", "peft", "accelerate")
CARD = "README.md"
PAPER = '"Prompt Decoupling" (arXiv 2401.02173)'


def write_run_card(
    run: RunFolder, args: TwoStageTrainingArguments, stages: Mapping[str, StageResult], notes: Sequence[str] = ()
) -> Path:
    """Write the cards of a run, with measured figures only.

    Returns:
        The card of the run; its adapter has one of its own.
    """
    facts = run_facts(run, args, stages, notes)
    write_atomically(run.path / CARD, render_model_card(facts).encode())
    if "one" in stages:
        card = render_model_card(adapter_facts(facts, run, args, stages["one"]))
        data = ModelCardData(library_name="peft", base_model=hub_name(args.base_model), tags=list(TAGS))
        write_atomically(run.adapter / CARD, with_front_matter(card, data).encode())
    return run.path / CARD


def run_facts(
    run: RunFolder, args: TwoStageTrainingArguments, stages: Mapping[str, StageResult], notes: Sequence[str] = ()
) -> ModelCardFacts:
    """Collect the facts for the card of a run."""
    rows = [row for row in run.recorded() if "stage" in row]  # others are evaluations that were added later
    config = PromptCLIPConfig.from_pretrained(run.model) if run.model.is_dir() else None
    return ModelCardFacts(
        name=run.path.name,
        summary=summary(args, stages),
        details=_model_details(config, args) if config is not None else _adapter_details(args),
        loading=run_loading("two" in stages),
        image_size=tuple(args.image_size),
        sources=all_sources(args),
        data_notes=tuple(notes),
        recipe=recipe_points(args, stages, PartialState().num_processes),
        repeat=_repeat(args),
        results=(results_table(rows),) if rows else (),
        protocol=protocol(rows),
        not_measured=not_measured(args, rows),
        drawn=is_drawn(args),
        environment=run_environment(),
    )


def adapter_facts(
    facts: ModelCardFacts, run: RunFolder, args: TwoStageTrainingArguments, result: StageResult
) -> ModelCardFacts:
    """Collect the facts for the card of stage one's prompts."""
    rows = [row for row in run.recorded() if row.get("stage") == "one"]
    return replace(
        facts,
        name=f"{run.path.name}, prompts of stage one",
        summary=f"Deep prompts for {as_code(public_value(args.base_model))}, whose own weights stay as they are: an "
        f"adapter for PEFT, trained on {_data_label(args)} in the first stage of {PAPER}.",
        details=_adapter_details(args),
        loading=adapter_loading("."),
        recipe=recipe_points(args, {"one": result}, PartialState().num_processes),
        results=(results_table(rows),) if rows else (),
        protocol=protocol(rows),
        not_measured=not_measured(args, rows),
    )


def run_loading(has_model: bool) -> tuple[Snippet, ...]:
    """Show how to load a run from within its folder."""
    name = "model" if has_model else "adapter"
    code = f'from modeling_prompt_clip.loading import load_model\n\nmodel, processor = load_model("{name}")'
    return (Snippet("In the folder of the run:", code),)


def summary(args: TwoStageTrainingArguments, stages: Collection[str]) -> str:
    """Summarize what the run made, in one sentence."""
    base, data = as_code(public_value(args.base_model)), _data_label(args)
    if args.direct:
        how = f"{base}, fine-tuned on {data} without new prompts: the baseline of two-stage training after {PAPER}"
    elif "two" not in stages:
        how = f"{base} with deep prompts in both towers, which were trained on {data} in the first stage of {PAPER}"
    elif args.adapter:
        how = f"{base} with the prompts of an earlier run, fine-tuned on {data} in the second stage of {PAPER}"
    else:
        how = (
            f"{base}, adapted to {data} in two stages after {PAPER}: first deep prompts in the frozen CLIP, then CLIP "
            "with these prompts fixed"
        )
    return f"A PromptCLIP for text-to-image person re-identification: {how}."


def run_environment() -> str:
    """Describe machine and versions in one sentence."""
    on_gpu = PartialState().device.type == "cuda"
    device = torch.cuda.get_device_name() if on_gpu else f"a CPU with {os.cpu_count()} cores"
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in LIBRARIES)])
    return f"Trained on {device} ({platform.system()} {platform.machine()}), with {versions}."


def _data_label(args: TwoStageTrainingArguments) -> str:
    return " and ".join(as_text(source.name) for source in data_sources(args))


def _model_details(config: PromptCLIPConfig, args: TwoStageTrainingArguments) -> dict[str, str]:
    """Describe input, output and prompts, with those of the base model."""
    details = model_details(config)
    trained = (args.text_prompt_length, args.vision_prompt_length)
    lengths = (config.text_config.prompt_length, config.vision_config.prompt_length)
    if "one" in args.stages and lengths != trained:
        text, vision = (length - own for length, own in zip(lengths, trained, strict=True))
        details["Prompts"] += f"; {text} of those for text and {vision} of those for vision came with the base model"
    return details


def _adapter_details(args: TwoStageTrainingArguments) -> dict[str, str]:
    """Describe input and prompts; the rest is the base model's."""
    height, width = args.image_size
    layers = "each layer" if args.prompt_layers is None else f"layers {', '.join(map(str, args.prompt_layers))}"
    return {
        "Images": f"{height}x{width} pixels (height x width)",
        "Prompts": f"{args.text_prompt_length} for text and {args.vision_prompt_length} for vision in {layers}",
    }


def _repeat(args: TwoStageTrainingArguments) -> str:
    """Tell how to train it again; the reader fills in the folders."""
    if args.base_model == UNNAMED_MODEL or args.dataset == UNNAMED_DATA:
        return "Every setting is in the run's `config.yaml`; what was passed in Python is not."
    options = "".join(f" --{name} {value}" for name, value in _folders_to_name(args).items())
    once = " --push_to_hub False" if args.push_to_hub else ""
    command = f"prompt-clip train --config config.yaml --output_dir NEW{options}{once}"
    return f"Every setting is in the run's `config.yaml`; {as_code(command)} repeats the run."


def _folders_to_name(args: TwoStageTrainingArguments) -> dict[str, str]:
    """Map settings that name local folders to their values with DIR instead."""
    found = {}
    for name, rule in rules(args).items():
        value = getattr(args, name)
        if name == "data_dir" and value:
            found[name] = "DIR"
        elif rule.local in ("model", "data") and isinstance(value, str | list):
            shown = map_sources(value, lambda name, folder: "=".join(filter(None, (name, folder and "DIR"))))
            if shown != value:
                found[name] = " ".join(shown) if isinstance(shown, list) else shown
    return found


__all__ = ["CARD", "adapter_facts", "run_facts", "run_loading", "summary", "write_run_card"]
