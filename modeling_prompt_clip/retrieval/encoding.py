"""Embed images and captions in batches, by any CLIP."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import closing, contextmanager

import torch
from peft import PeftModel
from PIL import Image
from torch import nn
from tqdm import tqdm

from modeling_prompt_clip.modeling_prompt_clip import PromptCLIPModel, unit_vectors
from modeling_prompt_clip.processing_prompt_clip import PromptCLIPProcessor, clean_caption
from modeling_prompt_clip.retrieval.image_batches import ImagePreparation, image_batches

__all__ = ["encode_captions", "encode_images", "scores_of"]

_ROWS_AT_ONCE = 1 << 16


def encode_images(
    model: nn.Module,
    processor: PromptCLIPProcessor,
    images: Iterable[Image.Image],
    batch_size: int = 64,
    progress: bool = True,
    description: str = "images",
    total: int | None = None,
    num_workers: int = 0,
) -> torch.Tensor:
    """Embed images on the model's device and in its dtype.

    Images whose pixels are equal once resized are embedded once: the last bits of an embedding differ with its batch.

    Args:
        model: has `get_image_features` as transformers' CLIPModel; its training mode is kept.
        images: RGB images; read once, a batch at a time.
        description, total: for the progress bar on stderr.
        num_workers: processes that decode and resize a sequence (list, data set column); 0, or an iterator, uses this
            one. The result is the same.

    Returns: `[images, projection_dim]` unit vectors, float32, on the CPU.

    Raises ValueError: no images, a batch size below 1, a negative `num_workers`, or an embedding that is not finite;
    OSError: an image of a sequence cannot be read; the message has its row.
    """
    _check_at_least("batch_size", batch_size, 1)
    _check_at_least("num_workers", num_workers, 0)
    total = len(images) if isinstance(images, Sized) else total
    preparation = ImagePreparation(processor)
    on_gpu = model.device.type == "cuda"
    batches = image_batches(preparation, images, batch_size, num_workers=num_workers, pin_memory=on_gpu)
    options = _pooling_options(model)
    places: dict[bytes, int] = {}  # of the embedding of each distinct image, by the hash of its pixels
    rows, embeds = [], []
    with closing(batches), _inference(model), _bar(total, description, progress) as bar:
        for batch in batches:
            known = len(places)
            rows += [places.setdefault(_digest(image), len(places)) for image in batch]
            new = _first_places(rows[-len(batch) :], known)
            if new:
                unseen = batch if len(new) == len(batch) else batch[new]
                pixel_values = preparation.normalize(unseen.to(model.device, non_blocking=on_gpu)).to(model.dtype)
                features = model.get_image_features(pixel_values=pixel_values, **options).pooler_output
                embeds.append(_unit_on_cpu(features))
            bar.update(len(batch))
    if not embeds:
        raise ValueError("images is empty; give at least one image")
    return _joined(embeds, "image", model)[torch.tensor(rows)]


def encode_captions(
    model: nn.Module,
    processor: PromptCLIPProcessor,
    captions: Sequence[str],
    batch_size: int = 64,
    progress: bool = True,
    description: str = "captions",
) -> torch.Tensor:
    """Embed captions on the model's device and in its dtype.

    Captions of similar length share a batch, for little padding; those of equal tokens are embedded once. Longer ones
    than the model's context are cut.

    Returns: `[captions, projection_dim]` unit vectors in the given order, float32, on the CPU.

    Raises ValueError: no captions, a batch size below 1, or an embedding that is not finite.
    """
    _check_at_least("batch_size", batch_size, 1)
    captions = list(captions)
    if not captions:
        raise ValueError("captions is empty; give at least one sentence")
    if getattr(processor, "clean_captions", False):
        captions = [clean_caption(caption) for caption in captions]
    tokens = processor.tokenizer(captions, truncation=True, return_attention_mask=False)["input_ids"]
    places: dict[tuple[int, ...], int] = {}  # of the embedding of each distinct caption
    rows_of = [places.setdefault(tuple(ids), len(places)) for ids in tokens]
    distinct = _first_places(rows_of, 0)
    options = _pooling_options(model)
    by_length = sorted(range(len(distinct)), key=lambda row: len(tokens[distinct[row]]))
    embeds = []
    with _inference(model), _bar(len(distinct), description, progress) as bar:
        for start in range(0, len(distinct), batch_size):
            rows = by_length[start : start + batch_size]
            input_ids = processor(text=[captions[distinct[row]] for row in rows])["input_ids"].to(model.device)
            features = model.get_text_features(input_ids=input_ids, **options).pooler_output
            embeds.append(_unit_on_cpu(features))
            bar.update(len(rows))
    return _joined(embeds, "caption", model)[torch.tensor(by_length).argsort()][torch.tensor(rows_of)]


def scores_of(query: torch.Tensor, embeds: torch.Tensor) -> torch.Tensor:
    """Cosines `[rows]` of a unit vector with unit vectors `[rows, dim]`.

    Products in float64, rounded to float32, so that equal vectors get equal scores wherever they lie.
    """
    return torch.cat([(block.double() @ query.double()).float() for block in embeds.split(_ROWS_AT_ONCE)])


def _digest(image: torch.Tensor) -> bytes:
    return hashlib.blake2b(image.numpy(), digest_size=16).digest()


def _first_places(rows: Sequence[int], known: int) -> list[int]:
    """Places in a batch of rows neither `known` nor seen before."""
    first = {row: place for place, row in reversed(list(enumerate(rows)))}
    return [place for row, place in sorted(first.items()) if row >= known]


def _pooling_options(model: nn.Module) -> dict[str, bool]:
    clip = model.get_base_model() if isinstance(model, PeftModel) else model
    return {"pooled_only": True} if isinstance(clip, PromptCLIPModel) else {}


def _unit_on_cpu(features: torch.Tensor) -> torch.Tensor:
    return unit_vectors(features).float().cpu()


def _joined(embeds: list[torch.Tensor], kind: str, model: nn.Module) -> torch.Tensor:
    joined = torch.cat(embeds)
    if not joined.isfinite().all():
        name = getattr(model, "name_or_path", "")
        raise ValueError(
            f"the model {name!r} gives NaN or infinity for some {kind}; look for diverged weights, or load it in "
            "float32"
        )
    return joined


def _bar(total: int | None, description: str, progress: bool) -> tqdm:
    return tqdm(total=total, desc=description, delay=2, disable=not progress)


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name}={value} must be at least {least}")


@contextmanager
def _inference(model: nn.Module) -> Iterator[None]:
    """Inference mode without dropout; each module's mode is restored."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True
