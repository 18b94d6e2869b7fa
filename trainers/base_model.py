"""The model that a run starts from, and the prompts that it is going to train."""

from peft import PeftModel

from modeling_prompt_clip import ClipPromptConfig, PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.configuration_prompt_clip import validate_prompt_settings
from modeling_prompt_clip.loading import resolve_model_path
from trainers.arguments import TwoStageTrainingArguments


def load_base(args: TwoStageTrainingArguments) -> tuple[PromptCLIPModel, PromptCLIPProcessor]:
    """The base model at the run's image size, and its processor.

    Raises:
        OSError, ValueError: see [`PromptCLIPModel.from_clip`].
    """
    folder = str(resolve_model_path(args.base_model))
    options = {"attn_implementation": args.attn_implementation} if args.attn_implementation else {}
    model = PromptCLIPModel.from_clip(folder, image_size=tuple(args.image_size), **options)
    model.name_or_path = args.base_model  # what an adapter records as its base: the name, not this machine's path
    return model, PromptCLIPProcessor.from_clip(folder, image_size=tuple(args.image_size))


def merged_adapter(model: PromptCLIPModel, folder: str) -> PromptCLIPModel:
    """The base model with the prompts of a saved stage-one adapter as its fixed ones.

    Raises:
        OSError: there is no adapter.
        ValueError: it was trained for other images or another model.
    """
    return PeftModel.from_pretrained(model, folder).merge_and_unload(safe_merge=True)


def new_prompt_config(args: TwoStageTrainingArguments, model: PromptCLIPModel) -> ClipPromptConfig | None:
    """The adapter that stage one will train, checked against the model; `None` where there is no stage one.

    Raises:
        ValueError: prompts for a layer that does not exist.
    """
    if "one" not in args.stages:
        return None
    config = ClipPromptConfig(
        text_prompt_length=args.text_prompt_length,
        vision_prompt_length=args.vision_prompt_length,
        prompt_layers=args.prompt_layers,
        prompt_init=args.prompt_init,
    )
    for tower, length in (("text", config.text_prompt_length), ("vision", config.vision_prompt_length)):
        layers = getattr(model.config, f"{tower}_config").num_hidden_layers
        validate_prompt_settings(tower, length, config.prompt_layers, layers)
    return config


__all__ = ["load_base", "merged_adapter", "new_prompt_config"]
