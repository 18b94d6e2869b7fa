"""Model cards from one template, for runs and for models without one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dataset_scripts.common import __version__
from dataset_scripts.common.text.markdown import as_code, as_text, one_line
from modeling_prompt_clip.configuration_prompt_clip import PromptCLIPConfig
from modeling_prompt_clip.hub.card_facts import ModelCardFacts, Snippet
from modeling_prompt_clip.modeling_prompt_clip import PromptCLIPModel

TEMPLATE = "model_card_template.md"
TAGS = ("clip", "person-re-identification", "text-to-image-retrieval", "prompt-tuning")


def render_model_card(facts: ModelCardFacts) -> str:
    """Render a card as Markdown, without the Hub's front matter."""
    # StrictUndefined: what the template names and the facts lack is an error, so that no placeholder can stay
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["as_text"] = as_text
    template = environment.get_template(TEMPLATE)
    return template.render(facts=facts, loading=render_loading(facts.loading), version=__version__)


def render_loading(loading: Sequence[Snippet]) -> str:
    """Render the section on loading, findable in a card."""
    return "\n\n".join(f"{snippet.lead}\n\n```python\n{snippet.code}\n```" for snippet in loading)


def card_of_model(model: PromptCLIPModel, repo_id: str, license: str | None = None) -> str:
    """Write the card, front matter included, of a model without a run.

    `license` is by default "other", because nothing is known of the data behind the model.
    """
    base_model = hub_name(str(model.name_or_path))
    base_model = None if base_model == repo_id else base_model
    origin = f", made from {as_code(base_model)}" if base_model else ""
    facts = ModelCardFacts(
        name=repo_id.partition("/")[2],
        summary=f"A PromptCLIP{origin}, without a record of its training.",
        details=model_details(model.config),
        loading=hub_loading(repo_id),
        image_size=model.config.vision_config.image_height_width,
    )
    data = card_data(facts.name, license=license or "other", base_model=base_model)
    return with_front_matter(render_model_card(facts), data)


def model_details(config: PromptCLIPConfig) -> dict[str, str]:
    """Input, output and prompts of a model, by heading."""
    text, vision = config.text_config, config.vision_config
    height, width = vision.image_height_width
    prompts = [
        f"{tower.prompt_length} in {_layers(tower.prompt_layers)} of the {name} tower"
        for name, tower in (("text", text), ("vision", vision))
        if tower.prompt_length
    ]
    return {
        "Images": f"{height}x{width} pixels (height x width), patches of {vision.patch_size}",
        "Captions": f"English, up to {text.max_position_embeddings} tokens; what is longer is cut off",
        "Embeddings": f"unit vectors of {config.projection_dim} dimensions, compared by their inner product",
        "Prompts": f"{' and '.join(prompts)}, merged into the model" if prompts else "none",
    }


def _layers(prompt_layers: Sequence[int] | None) -> str:
    if prompt_layers is None:
        return "each layer"
    return f"{'each of the layers' if len(prompt_layers) > 1 else 'layer'} {', '.join(map(str, prompt_layers))}"


def hub_loading(repo_id: str) -> tuple[Snippet, ...]:
    """Snippets that load a model from the Hub, without and with this package."""
    return (
        Snippet(
            "Without PromptCLIP's package; the code comes from the repository, so look at it first:",
            "from transformers import AutoModel, AutoProcessor\n\n"
            f'model = AutoModel.from_pretrained("{repo_id}", trust_remote_code=True).eval()\n'
            f'processor = AutoProcessor.from_pretrained("{repo_id}", trust_remote_code=True)',
        ),
        Snippet(
            "With PromptCLIP's package, no code of the repository is run:",
            f'from modeling_prompt_clip.loading import load_model\n\nmodel, processor = load_model("{repo_id}")',
        ),
    )


def adapter_loading(name: str) -> tuple[Snippet, ...]:
    """Snippets that load an adapter, merged or not."""
    return (
        Snippet(
            "With the prompts merged into the base model, which `adapter_config.json` names:",
            f'from modeling_prompt_clip.loading import load_model\n\nmodel, processor = load_model("{name}")',
        ),
        Snippet(
            "As an adapter of PEFT:",
            "from peft import PeftConfig, PeftModel\n\n"
            "from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor\n"
            "from modeling_prompt_clip.loading import resolve_model_path\n\n"
            f'config = PeftConfig.from_pretrained("{name}")\n'
            "base = resolve_model_path(config.base_model_name_or_path)\n"
            "model = PromptCLIPModel.from_clip(base, image_size=config.image_size)\n"
            f'model = PeftModel.from_pretrained(model, "{name}").eval()\n'
            "processor = PromptCLIPProcessor.from_clip(base, image_size=config.image_size)",
        ),
    )


def hub_name(name: str) -> str | None:
    """Return `name` if it is a Hub repository's and no folder's, or None."""
    if name.count("/") != 1 or Path(name).exists():
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def card_data(name: str, *, library_name: str = "transformers", **known: Any) -> ModelCardData:
    """Build the Hub's front matter.

    `library_name` is `"transformers"`, or `"peft"` for an adapter; `known` are fields of `ModelCardData`, Nones left
    out.
    """
    return ModelCardData(
        language="en",
        library_name=library_name,
        pipeline_tag="zero-shot-image-classification",
        tags=list(TAGS),
        model_name=one_line(name),
        **known,
    )


def with_front_matter(text: str, data: ModelCardData) -> str:
    """Prepend the Hub's front matter to a card."""
    return f"---\n{data.to_yaml()}\n---\n\n{text}"


__all__ = [
    "TAGS",
    "adapter_loading",
    "card_data",
    "card_of_model",
    "hub_loading",
    "hub_name",
    "model_details",
    "render_loading",
    "render_model_card",
    "with_front_matter",
]
