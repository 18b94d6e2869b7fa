"""Towers as modules with one input and output, and as ONNX graphs."""

import copy
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from onnxscript.ir.passes.common import ClearMetadataAndDocStringPass
from peft import PeftModel
from torch import nn
from torch.export import Dim

from modeling_prompt_clip.modeling_prompt_clip import PromptCLIPModel

__all__ = ["ImageTower", "TextTower", "Tower", "exportable_copy", "write_onnx"]

TALKATIVE = ("torch.onnx._internal.exporter._registration", "onnxscript.optimizer._constant_folding")


class Tower(nn.Module, ABC):
    """A tower with its projection, which gives unit vectors `(batch, projection_dim)`."""

    file_name: str  # of the ONNX graph
    input_name: str  # of the ONNX graph and of the model's forward
    output_name: str  # likewise
    input_shape: list[str | int]  # of the ONNX graph; a name stands for a free size

    def __init__(self, model: PromptCLIPModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Embed a batch of `input_shape`: `(batch, projection_dim)`, float32."""
        return self.model(**{self.input_name: batch}, pooled_only=True)[self.output_name]

    def free_sizes(self) -> dict[int, Dim]:
        """Input axes of free size, for torch's exporter."""
        return {axis: Dim(name) for axis, name in enumerate(self.input_shape) if isinstance(name, str)}

    @abstractmethod
    def samples(self) -> list[torch.Tensor]:
        """Random inputs of several sizes; the first, without 0 or 1, traces the graph."""


class TextTower(Tower):
    """`input_ids` `(captions, tokens)`, int64, padded on the right, to `text_embeds`."""

    file_name = "text.onnx"
    input_name = "input_ids"
    output_name = "text_embeds"
    input_shape = ["captions", "tokens"]

    def __init__(self, model: PromptCLIPModel, end_id: int, pad_id: int) -> None:
        super().__init__(model)
        self.end_id = end_id
        self.pad_id = pad_id

    @property
    def context(self) -> int:
        """Most tokens of a caption."""
        return self.model.config.text_config.max_position_embeddings

    def free_sizes(self) -> dict[int, Dim]:
        """As of any tower; positions end with the context."""
        return super().free_sizes() | {1: Dim("tokens", max=self.context)}

    def samples(self) -> list[torch.Tensor]:
        """Four batches of captions, from 2 tokens to the context."""
        generator = torch.Generator().manual_seed(0)
        lengths = sorted({2, 3, min(16, self.context), self.context - 1, self.context})
        traced = (3, min(7, self.context))
        shapes = [traced] + [(captions, tokens) for captions in (1, 2, 5) for tokens in lengths]
        return [self._captions(*shape, generator) for shape in shapes]

    def _captions(self, captions: int, tokens: int, generator: torch.Generator) -> torch.Tensor:
        """Captions `(captions, tokens)`; the first fills the batch, others end at random."""
        words = torch.randint(self.model.config.text_config.vocab_size - 1, (captions, tokens), generator=generator)
        words[words >= self.end_id] += 1  # any id but that of the end
        ends = torch.randint(1, tokens, (captions, 1), generator=generator)
        ends[0] = tokens - 1
        places = torch.arange(tokens)
        return words.masked_fill(places > ends, self.pad_id).masked_fill(places == ends, self.end_id)


class ImageTower(Tower):
    """Normalised `pixel_values` `(images, channels, height, width)` to `image_embeds`."""

    file_name = "image.onnx"
    input_name = "pixel_values"
    output_name = "image_embeds"

    def __init__(self, model: PromptCLIPModel) -> None:
        super().__init__(model)
        vision = model.config.vision_config
        self.input_shape = ["images", vision.num_channels, *vision.image_height_width]

    def samples(self) -> list[torch.Tensor]:
        """Batches of 3, 1, 2 and 5 images of noise."""
        generator = torch.Generator().manual_seed(0)
        return [torch.randn(images, *self.input_shape[1:], generator=generator) for images in (3, 1, 2, 5)]


def exportable_copy(model: nn.Module) -> PromptCLIPModel:
    """Copy a model for export: merged, float32, on the CPU, no dropout.

    Raises TypeError: neither a PromptCLIP nor a PEFT model of one; ValueError: adapters that cannot be merged.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    if not isinstance(base, PromptCLIPModel):
        raise TypeError(
            f"model is a {type(base).__name__}; it must be a PromptCLIPModel: load it by "
            "modeling_prompt_clip.loading.load_model or PromptCLIPModel.from_clip, which take any CLIP"
        )
    copied = copy.deepcopy(model)
    if isinstance(copied, PeftModel):
        copied = copied.merge_and_unload()
    copied.set_attn_implementation("sdpa")  # flash attention has no CPU kernel
    return copied.to("cpu", torch.float32).eval().requires_grad_(False)


def write_onnx(tower: Tower, folder: Path) -> Path:
    """Write a tower's graph, with weights above 1.5 GB in `NAME.onnx.data`.

    Raises torch.onnx.OnnxExporterError: torch cannot translate the model; OSError: the folder cannot be written.
    """
    path = folder / tower.file_name
    with _quiet_exporter():
        program = torch.onnx.export(
            tower.eval(),
            (tower.samples()[0],),
            dynamo=True,
            input_names=[tower.input_name],
            output_names=[tower.output_name],
            dynamic_shapes=(tower.free_sizes(),),
            verbose=False,
        )
    ClearMetadataAndDocStringPass()(program.model)  # stack traces, with the paths of this machine
    program.save(path)
    return path


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter's messages that no user can act on."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
