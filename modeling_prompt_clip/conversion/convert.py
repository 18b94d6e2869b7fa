"""Conversion of a checkpoint file to a model folder."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Resampling
from transformers import CLIPImageProcessorPil

from dataset_scripts.common.files import new_folder, scratch_folder
from dataset_scripts.common.model_names import tokenizer_source
from modeling_prompt_clip.configuration_prompt_clip import PromptCLIPConfig
from modeling_prompt_clip.conversion.checkpoint_file import read_checkpoint
from modeling_prompt_clip.conversion.choices import Choice, choose_activation, choose_head_width, find_family
from modeling_prompt_clip.conversion.families import NORMALIZATIONS, Family
from modeling_prompt_clip.conversion.image_sizes import ImageSize, find_image_size
from modeling_prompt_clip.conversion.layout import OpenAILayout, find_layout
from modeling_prompt_clip.conversion.open_clip_config import OpenClipConfig, read_open_clip_config
from modeling_prompt_clip.conversion.openai_layout import clip_tensors, count_layers, source_name
from modeling_prompt_clip.conversion.tokenizer_file import (
    CAPTION_RULES,
    clip_tokenizer_from_merges,
    with_caption_rule,
)
from modeling_prompt_clip.folder_checks import in_words
from modeling_prompt_clip.modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.processing_prompt_clip import PromptCLIPProcessor
from modeling_prompt_clip.processor_files import load_tokenizer

__all__ = ["OPENAI_TOKENIZER", "RESAMPLES", "ConvertedCheckpoint", "convert_checkpoint"]

OPENAI_TOKENIZER = "openai/clip-vit-base-patch16"
RESAMPLES = ("bilinear", "bicubic")
# by which the sizes of both towers are known, and how many sides each must have
_SIZED_BY = {
    "vision_model.embeddings.patch_embedding.weight": 4,
    "vision_model.embeddings.position_embedding.weight": 2,
    "vision_model.encoder.layers.0.mlp.fc1.weight": 2,
    "visual_projection.weight": 2,
    "text_model.embeddings.token_embedding.weight": 2,
    "text_model.embeddings.position_embedding.weight": 2,
    "text_model.encoder.layers.0.mlp.fc1.weight": 2,
    "text_projection.weight": 2,
}


@dataclass(frozen=True)
class ConvertedCheckpoint:
    """Outcome of a conversion."""

    layout: OpenAILayout  # where the CLIP was in the checkpoint
    config: PromptCLIPConfig  # of the model
    dropped: list[str]  # tensors that are not part of CLIP
    normalization: str  # `"clip"`, `"imagenet"`, or `"open_clip_config.json"` for other statistics given there
    family: str = ""  # the code that wrote the checkpoint, if it shows
    tokenizer: str = ""  # the tokenizer's source
    # settings that tensors do not hold, by name: `family`, `activation`, `head_width`, `text_head_width`,
    # `image_size`, `normalization`, `resample`, `captions`
    choices: dict[str, Choice] = field(default_factory=dict)
    other_image_sizes: tuple[tuple[int, int], ...] = ()  # `(height, width)` that also fit the positions

    def dropped_parts(self) -> dict[str, int]:
        """Count dropped tensors by part, the first word of their names."""
        return dict(Counter(name.partition(".")[0] for name in self.dropped))


def convert_checkpoint(
    source: str | Path,
    target: str | Path,
    *,
    tokenizer: str | os.PathLike = OPENAI_TOKENIZER,
    image_size: tuple[int, int] | None = None,
    prefix: str | None = None,
    activation: str | None = None,
    head_width: int | None = None,
    text_head_width: int | None = None,
    normalization: str | None = None,
    resample: str | None = None,
    captions: str | None = None,
) -> ConvertedCheckpoint:
    """Convert a CLIP of OpenAI's, open_clip's or IRRA's kind to float32.

    Settings left out come from the file, `open_clip_config.json` beside it, or the family's code; the result says
    which.

    Args:
        source: a `.pth`, `.pt`, `.bin` or `.safetensors` file; see `read_checkpoint`.
        target: a new folder.
        tokenizer: folder or Hub id of CLIP's tokenizer, which checkpoints lack, or `bpe_simple_vocab_16e6.txt.gz`.
        image_size: `(height, width)` in pixels of its training, if positions do not tell.
        prefix: start of the CLIP's names, if the file holds several.
        activation: `"quick_gelu"` (OpenAI's) or `"gelu"` (most of open_clip's).
        head_width, text_head_width: of the towers' attention heads; required where no known CLIP has this width.
        normalization: of images, `"clip"` or `"imagenet"`.
        resample: how images are resized, `"bilinear"` or `"bicubic"`.
        captions: `"clip"`, or `"tbps_clip"`, which drops punctuation as TBPS-CLIP does.

    Raises:
        ValueError: a file that cannot be trusted or holds no such CLIP, missing or foreign tensors, a missing or
            unknown choice, or another model's tokenizer.
        OSError: the file, the tokenizer or the target folder cannot be used.
    """
    target = Path(target)
    if target.exists():
        raise FileExistsError(f"{target} exists; name a folder that does not")
    _check("normalization", normalization, tuple(NORMALIZATIONS))
    _check("resample", resample, RESAMPLES)
    _check("captions", captions, CAPTION_RULES)
    file = read_checkpoint(source)
    with in_words(f"checkpoint {file.path}"), _naming(file.path):
        layout = find_layout(file.tensors, prefix)
        state, dropped = clip_tensors(file.tensors, layout)
        _check_sizes(state, layout, file.path)
        open_clip = read_open_clip_config(file.path)
        widths = {"vision": len(state[next(iter(_SIZED_BY))]), "text": state["text_projection.weight"].shape[1]}
        if open_clip is not None:
            open_clip.check(widths)
        family = find_family(layout, file, open_clip, widths["vision"])
        size = _image_size(state, image_size, file.tensors, layout, open_clip)
        heads = _heads(widths, {"vision": head_width, "text": text_head_width}, family, open_clip)
        choices = {
            "family": Choice(family.name, "by the names of its tensors"),
            "activation": choose_activation(activation, family, file, open_clip),
            "head_width": heads["vision"],
            "text_head_width": heads["text"],
            "image_size": Choice(size.height_width, size.why, bool(size.others)),
            "normalization": _setting(normalization, family.normalization, family, _statistics(open_clip)),
            "resample": _setting(resample, family.resample, family, _interpolation(open_clip)),
            "captions": _setting(captions, family.captions, family, None),
        }
        config = _config(state, size, choices)
        model = _model(state, config, layout, file.path)
    processor = _processor(tokenizer, config, choices, open_clip)
    with new_folder(target) as folder:
        model.save_pretrained(str(folder))
        processor.save_pretrained(str(folder))
    return ConvertedCheckpoint(
        layout=layout,
        config=config,
        dropped=dropped,
        normalization=choices["normalization"].value,
        family=family.name,
        tokenizer=os.fspath(tokenizer),
        choices=choices,
        other_image_sizes=size.others,
    )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let ValueErrors name the file whose tensors they speak of."""
    try:
        yield
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"checkpoint {path}: {error}") from error


def _heads(
    widths: dict[str, int], wanted: dict[str, int | None], family: Family, open_clip: OpenClipConfig | None
) -> dict[str, Choice]:
    return {
        tower: choose_head_width(tower, width, wanted[tower], family, open_clip and open_clip.head_width(tower))
        for tower, width in widths.items()
    }


def _check(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value not in (None, *known):
        raise ValueError(f"{name} is {value!r}; it must be {' or '.join(map(repr, known))}")


def _setting(wanted: str | None, of_family: str, family: Family, known: str | None) -> Choice:
    if wanted is not None:
        return Choice(wanted, "as given")
    if known is not None:
        return Choice(known, "as open_clip_config.json says")
    return Choice(of_family, f"as in the code of {family.name}")


def _statistics(open_clip: OpenClipConfig | None) -> str | None:
    """Name of open_clip's pixel statistics; the file's name for unknown ones."""
    stated = open_clip.preprocess if open_clip else {}
    mean, std = stated.get("mean"), stated.get("std")
    if not mean or not std:
        return None
    for value in (mean, std):
        if not (isinstance(value, list) and len(value) == 3 and all(isinstance(part, float | int) for part in value)):
            raise ValueError(f"{open_clip.path} has preprocess_cfg mean or std {value!r}; they must be three numbers")
    names = [name for name, ours in NORMALIZATIONS.items() if ours == (tuple(mean), tuple(std))]
    return names[0] if names else open_clip.path.name


def _interpolation(open_clip: OpenClipConfig | None) -> str | None:
    stated = open_clip.preprocess.get("interpolation") if open_clip else None
    return stated if stated in RESAMPLES else None


def _check_sizes(state: dict[str, torch.Tensor], layout: OpenAILayout, path: Path) -> None:
    """Check the tensors that tell sizes, and their dimensions."""
    for name, sides in _SIZED_BY.items():
        if name not in state:
            raise ValueError(f"checkpoint {path} lacks {source_name(name, layout)}, a tensor of CLIP")
        if state[name].ndim != sides:
            raise ValueError(
                f"{source_name(name, layout)} in checkpoint {path} has the shape {tuple(state[name].shape)}; "
                f"it must have {sides} sides"
            )
    patches = state[next(iter(_SIZED_BY))]
    if patches.shape[1] != 3 or patches.shape[2] != patches.shape[3]:
        raise ValueError(
            f"{source_name(next(iter(_SIZED_BY)), layout)} in checkpoint {path} has the shape {tuple(patches.shape)}; "
            "patches must be square and of three colours"
        )


def _image_size(
    state: dict[str, torch.Tensor],
    wanted: tuple[int, int] | None,
    tensors: dict[str, torch.Tensor],
    layout: OpenAILayout,
    open_clip: OpenClipConfig | None,
) -> ImageSize:
    known = None
    stated = tensors.get(f"{layout.start}input_resolution")
    if open_clip is not None and open_clip.image_size:
        known = (open_clip.image_size, f"as {open_clip.path.name} says")
    elif stated is not None and stated.numel() == 1 and float(stated).is_integer():
        known = ((int(stated), int(stated)), "as input_resolution in the checkpoint says")
    positions = len(state["vision_model.embeddings.position_embedding.weight"]) - 1
    patch_size = state["vision_model.embeddings.patch_embedding.weight"].shape[-1]
    return find_image_size(positions, patch_size, wanted, known)


def _config(state: dict[str, torch.Tensor], size: ImageSize, choices: dict[str, Choice]) -> PromptCLIPConfig:
    vocabulary, text_width = state["text_model.embeddings.token_embedding.weight"].shape
    patches = state["vision_model.embeddings.patch_embedding.weight"]
    return PromptCLIPConfig(
        vision_config={
            **_tower_config(state, "vision", len(patches), choices["head_width"].value),
            "hidden_act": choices["activation"].value,
            "patch_size": patches.shape[-1],
            "image_size": list(size.height_width),
        },
        text_config={
            **_tower_config(state, "text", text_width, choices["text_head_width"].value),
            "hidden_act": choices["activation"].value,
            "vocab_size": vocabulary,
            "max_position_embeddings": len(state["text_model.embeddings.position_embedding.weight"]),
            "bos_token_id": vocabulary - 2,
            "eos_token_id": vocabulary - 1,
        },
        projection_dim=len(state["text_projection.weight"]),
    )


def _tower_config(state: dict[str, torch.Tensor], tower: str, width: int, head_width: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": len(state[f"{tower}_model.encoder.layers.0.mlp.fc1.weight"]),
        "num_attention_heads": width // head_width,
        "num_hidden_layers": count_layers(state, tower),
    }


def _model(
    state: dict[str, torch.Tensor], config: PromptCLIPConfig, layout: OpenAILayout, path: Path
) -> PromptCLIPModel:
    """Build the model; a missing temperature, which ranks nothing, is CLIP's own."""
    model = PromptCLIPModel(config)
    for name, tensor in model.state_dict().items():
        if name in state and state[name].shape != tensor.shape:
            raise ValueError(
                f"checkpoint {path} does not fit together: {source_name(name, layout)} becomes "
                f"{tuple(state[name].shape)}, and the others ask for {tuple(tensor.shape)}"
            )
    outcome = model.load_state_dict(state, strict=False)
    missing = list(dict.fromkeys(source_name(name, layout) for name in outcome.missing_keys if name != "logit_scale"))
    if missing:
        tensors = "1 tensor" if len(missing) == 1 else f"{len(missing)} tensors"
        raise ValueError(f"checkpoint {path} lacks {tensors} of CLIP, such as {missing[0]}")
    return model.eval()


def _processor(
    tokenizer: str | os.PathLike,
    config: PromptCLIPConfig,
    choices: dict[str, Choice],
    open_clip: OpenClipConfig | None,
) -> PromptCLIPProcessor:
    height, width = config.vision_config.image_height_width
    size = {"height": height, "width": width}
    name = choices["normalization"].value
    stated = open_clip.preprocess if open_clip else {}
    mean, std = NORMALIZATIONS[name] if name in NORMALIZATIONS else (stated["mean"], stated["std"])
    images = CLIPImageProcessorPil(
        size=size,
        crop_size=size,
        do_center_crop=False,
        image_mean=mean,
        image_std=std,
        resample=Resampling[choices["resample"].value.upper()],
    )
    words = with_caption_rule(_tokenizer(tokenizer, config), choices["captions"].value)
    return PromptCLIPProcessor(image_processor=images, tokenizer=words)


def _tokenizer(tokenizer: str | os.PathLike, config: PromptCLIPConfig) -> Any:
    if Path(tokenizer).is_file():
        with scratch_folder("tokenizer") as folder:
            context = config.text_config.max_position_embeddings
            clip_tokenizer_from_merges(tokenizer, context).save_pretrained(folder)
            return load_tokenizer(str(folder), config)
    try:
        return load_tokenizer(tokenizer_source(os.fspath(tokenizer)), config)
    except OSError as error:
        raise OSError(
            f"tokenizer {os.fspath(tokenizer)!r} cannot be read, and checkpoint files hold none; without a network, "
            "give by --tokenizer the file bpe_simple_vocab_16e6.txt.gz that lies beside the code of the checkpoint "
            f"(data/ in IRRA and RDE, text_utils/ in TBPS-CLIP, clip/ in OpenAI's), or a folder ({error})"
        ) from error
