"""Push the adapters of a PEFT model to the Hub, with a card."""

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from peft import PeftModel

from dataset_scripts.common.files import scratch_folder
from dataset_scripts.common.hub import open_repository, upload_folder
from dataset_scripts.common.markdown import as_code
from modeling_prompt_clip.hub.card_facts import ModelCardFacts
from modeling_prompt_clip.hub.card_there import CARD, card_there, has_figures
from modeling_prompt_clip.hub.model_card import adapter_loading, card_data, hub_name, render_model_card
from modeling_prompt_clip.hub.model_card import with_front_matter as with_head
from modeling_prompt_clip.hub.remote_code import complete_upload, told_base

__all__ = ["push_adapter"]

REPLACED = ["*.safetensors", "config.json", "*.py"]  # of a whole model that an earlier push may have left


def push_adapter(
    model: PeftModel,
    repo_id: str,
    *,
    private: bool | None = True,
    license: str | None = None,
    tags: list[str] | None = None,
    token: bool | str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    commit_description: str | None = None,
    max_shard_size: int | str | None = None,
    **save_options: Any,
) -> str:
    """Push the adapters of a PEFT model; an existing card is kept unless it reports a run's figures.

    Args:
        model: with at least one CLIP_PROMPT adapter.
        repo_id: `USER/NAME`; created if missing.
        private: only False makes a new repository public, or fills a public one.
        license: identifier on the Hub; by default "other".
        tags: for a new card, added to its own.
        commit_message, commit_description, create_pr, token: as for `HfApi.upload_folder`.
        revision: an existing branch; by default the main one.
        max_shard_size: not used: an adapter is one file.
        **save_options: for the model's `save_pretrained`.

    Returns:
        URL of the commit or pull request.

    Raises:
        ValueError: a public repository without `private=False`.
        OSError: the Hub refuses, fails or cannot be reached; the same call can be repeated.
    """
    repo_id = open_repository(repo_id, "model", private=private is not False, token=token, write=not create_pr).repo_id
    there = card_there(repo_id, revision, token)
    with scratch_folder("prompt_clip_push") as folder:
        model.save_pretrained(str(folder), **save_options)
        for card in folder.rglob(CARD):  # PEFT's own, which says nothing and names folders of this machine
            card.unlink()
        complete_upload(folder)
        if there is None or has_figures(there):
            card = ModelCard(_card(model, repo_id, license))
            card.data.tags = [*card.data.tags, *(tags or ())]
            Path(folder, CARD).write_text(str(card), encoding="utf-8")
        commit = upload_folder(
            folder,
            repo_id,
            "model",
            message=commit_message or "Upload adapter",
            replaced=REPLACED,
            description=commit_description,
            revision=revision,
            create_pr=create_pr,
            token=token,
        )
    return commit.pr_url or commit.commit_url


def _card(model: PeftModel, repo_id: str, license: str | None) -> str:
    config = model.active_peft_config
    base = told_base(config.base_model_name_or_path or getattr(model.get_base_model(), "name_or_path", None))
    layers = "each layer" if config.prompt_layers is None else f"layers {', '.join(map(str, config.prompt_layers))}"
    height, width = config.image_size
    facts = ModelCardFacts(
        name=repo_id.partition("/")[2],
        summary=f"Deep prompts for {as_code(base) if base else 'a CLIP whose name is not told'}, whose own weights "
        "stay as they are: an adapter for PEFT, without a record of its training.",
        details={
            "Images": f"{height}x{width} pixels (height x width)",
            "Prompts": f"{config.text_prompt_length} for text, {config.vision_prompt_length} for vision, in {layers}",
        },
        loading=adapter_loading(repo_id),
        image_size=(height, width),
    )
    on_hub = hub_name(base) if base else None
    data = card_data(facts.name, library_name="peft", license=license or "other", base_model=on_hub)
    return with_head(render_model_card(facts), data)
