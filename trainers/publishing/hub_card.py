"""The cards of a run on the Hub."""

from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from dataset_scripts.common.text.markdown import one_line
from modeling_prompt_clip.hub.card_facts import ModelCardFacts, Snippet
from modeling_prompt_clip.hub.model_card import (
    adapter_loading,
    card_data,
    hub_loading,
    hub_name,
    render_loading,
    render_model_card,
    with_front_matter,
)
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.publishing.card_results import METRICS
from trainers.publishing.card_sources import all_sources, data_sources, is_drawn, sources_of
from trainers.publishing.run_card import run_loading, summary


def hub_card(
    card: str,
    args: TwoStageTrainingArguments,
    results: list[dict[str, Any]],
    repo_id: str,
    *,
    adapter_only: bool = False,
    license: str | None = None,
) -> str:
    """Make the text of `README.md` on the Hub.

    Args:
        card: of the run folder or its adapter; the owner's edits stay, in the front matter too.
        args: settings of the run.
        results: its `results.json`; rows of the test split become the repository's `model-index`.
        repo_id: `USER/NAME`.
        adapter_only: the repository only holds prompts.
        license: its identifier on the Hub; by default Apache-2.0 for drawn data, else "other", because data sets of
            this field restrict models trained on them.
    """
    last = "direct" if args.direct else "two-stage"
    wanted = ("stage one" if adapter_only else last, "test", "text_to_image")  # the baselines beside it are others'
    tested = [row for row in results if (row["method"], row["split"], row["direction"]) == wanted]
    dataset = data_sources(args)[0].name
    figures = [result for row in tested for result in eval_results(row, dataset)]
    owners, text = {}, card
    if card.startswith("---\n"):
        read = ModelCard(card)
        owners, text = read.data.to_dict(), read.text.lstrip("\n")
    license = license or owners.pop("license", None)
    data = front_matter(args, repo_id.partition("/")[2], adapter_only, license, figures)
    here = adapter_loading(".") if adapter_only else run_loading("two" in args.stages)
    text = text.replace(render_loading(here), render_loading(_loading(repo_id, adapter_only)))
    return with_front_matter(text, ModelCardData(**(data.to_dict() | owners | {"license": data.license})))


def card_in_progress(args: TwoStageTrainingArguments, stage: str, step: int) -> str:
    """Make the card of weights from `step` steps of a stage."""
    adapter_only = stage == "one"
    facts = ModelCardFacts(
        name=args.hub_model_id.partition("/")[2],
        summary=f"{summary(args, [stage])} Training continues: these are the weights of stage {stage} after {step} "
        "steps. Nothing has been tested yet.",
        loading=_loading(args.hub_model_id, adapter_only),
        image_size=tuple(args.image_size),
        sources=all_sources(args),
        recipe=("Every setting is in `config.yaml`. The other sections follow when the run ends.",),
        drawn=is_drawn(args),
    )
    return with_front_matter(render_model_card(facts), front_matter(args, facts.name, adapter_only))


def front_matter(
    args: TwoStageTrainingArguments,
    name: str,
    adapter_only: bool = False,
    license: str | None = None,
    results: list[EvalResult] | None = None,
) -> ModelCardData:
    """Make the metadata at the head of a card, see [`hub_card`]."""
    license = license or ("apache-2.0" if is_drawn(args) else "other")
    return card_data(
        name,
        library_name="peft" if adapter_only else "transformers",
        license=license,
        license_name="terms-of-the-training-data" if license == "other" else None,
        base_model=hub_name(args.base_model),
        datasets=[on_hub for name, _ in sources_of(args) if (on_hub := hub_name(name))] or None,
        eval_results=results or None,
    )


def eval_results(row: dict[str, Any], dataset: str) -> list[EvalResult]:
    """Convert a row of `results.json` for the Hub's `model-index`."""
    dataset = one_line(dataset)
    return [
        EvalResult(
            task_type="text-to-image-retrieval",
            task_name="Text-to-image person re-identification",
            dataset_type=dataset.replace(" ", "_"),
            dataset_name=dataset,
            dataset_split=row["split"],
            metric_type=name,
            metric_name=name,
            metric_value=round(row["metrics"][name], 2),
        )
        for name in METRICS
        if row["metrics"][name] is not None
    ]


def _loading(repo_id: str, adapter_only: bool) -> tuple[Snippet, ...]:
    return adapter_loading(repo_id) if adapter_only else hub_loading(repo_id)


__all__ = ["card_in_progress", "eval_results", "front_matter", "hub_card"]
