"""Push adapters of a PEFT model to the Hub, with a card."""

from functools import partial
from typing import Any

from peft import PeftModel

from dataset_scripts.common.text.markdown import as_code
from modeling_prompt_clip.hub.card_facts import ModelCardFacts
from modeling_prompt_clip.hub.model_card import (
    adapter_loading,
    card_data,
    hub_name,
    render_model_card,
    with_front_matter,
)
from modeling_prompt_clip.hub.push_saved import push_saved, split_options
from modeling_prompt_clip.hub.remote_code import told_base

__all__ = ["push_adapter"]

REPLACED = ["*.safetensors", "config.json", "*.py"]  # of a whole model that an earlier push may have left


def push_adapter(
    model: PeftModel,
    repo_id: str,
    *,
    license: str | None = None,
    tags: list[str] | None = None,
    max_shard_size: int | str | None = None,
    **options: Any,
) -> str:
    """Push a PEFT model's adapters; keep a card without a run's figures.

    One adapter must be CLIP_PROMPT. `max_shard_size` is not used: an adapter is one file. Otherwise see
    [`push_model`].

    Raises ValueError, OSError: see [`push_saved`]; the same call can be repeated.
    """
    push, save_options = split_options(options)
    return push_saved(
        lambda folder: model.save_pretrained(str(folder), **save_options),
        repo_id,
        push,
        message="Upload adapter",
        new_card=partial(_card, model, license=license),
        tags=tags or (),
        replaced=REPLACED,
    )


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
    return with_front_matter(render_model_card(facts), data)
