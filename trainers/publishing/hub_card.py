"""The run's card as that of a repository: with the Hub's front matter, and loading by the repository's name."""

from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from trainers.arguments import TwoStageTrainingArguments
from trainers.run_card import METRICS, loading_snippet
from trainers.splits import resolve_source, source_label

TAGS = ["clip", "person-re-identification", "text-to-image-retrieval", "prompt-tuning"]
SYNTHETIC = ("synthetic_pedes", "stand-in")  # data set and base model that this package made itself


def hub_card(
    card: str,
    args: TwoStageTrainingArguments,
    results: list[dict[str, Any]],
    repo_id: str,
    *,
    adapter_only: bool = False,
    license: str | None = None,
) -> str:
    """The text of `README.md` on the Hub.

    Args:
        card: of the run folder, see [`write_run_card`]; what its owner has written into it stays.
        args: settings of the run.
        results: its `results.json`; rows of the test split become the repository's `model-index`.
        repo_id: `USER/NAME`.
        adapter_only: whether the repository holds the prompts alone.
        license: its identifier on the Hub; by default Apache-2.0 for drawn data, and else "other", because the data
            sets of this field bind what is trained on them.
    """
    last = "direct" if args.direct else "two-stage"
    wanted = ("stage one" if adapter_only else last, "test", "text_to_image")  # the baselines beside it are others'
    tested = [row for row in results if (row["method"], row["split"], row["direction"]) == wanted]
    dataset = source_label(*resolve_source(args.dataset, args.data_dir))
    drawn = (args.dataset, args.base_model) == SYNTHETIC
    data = ModelCardData(
        language="en",
        license=license or ("apache-2.0" if drawn else "other"),
        library_name="peft" if adapter_only else "transformers",
        pipeline_tag="zero-shot-image-classification",
        tags=TAGS,
        base_model=args.base_model if args.base_model.count("/") == 1 else None,
        model_name=repo_id.partition("/")[2],
        eval_results=[result for row in tested for result in eval_results(row, dataset)] or None,
    )
    text = card.replace(loading_snippet("two" in args.stages), hub_snippet(repo_id, adapter_only))
    return f"---\n{data.to_yaml()}\n---\n\n{text}"


def eval_results(row: dict[str, Any], dataset: str) -> list[EvalResult]:
    """A row of `results.json` in the form of the Hub's `model-index`."""
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
    ]


def hub_snippet(repo_id: str, adapter_only: bool) -> str:
    """Python lines that load the repository."""
    if adapter_only:
        return (
            "from modeling_prompt_clip.loading import load_model  # pip install prompt-clip-reid\n\n"
            f'model, processor = load_model("{repo_id}")'
        )
    return (
        "from transformers import AutoModel, AutoProcessor\n\n"
        f'model = AutoModel.from_pretrained("{repo_id}", trust_remote_code=True).eval()\n'
        f'processor = AutoProcessor.from_pretrained("{repo_id}", trust_remote_code=True)'
    )


__all__ = ["hub_card", "hub_snippet"]
