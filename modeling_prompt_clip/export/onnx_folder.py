"""Write ONNX towers and the processor's files, checked before they appear."""

import logging
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer
from torch import nn

from dataset_scripts.common.files import new_folder
from modeling_prompt_clip.export.check import check_onnx
from modeling_prompt_clip.export.towers import ImageTower, TextTower, exportable_copy, write_onnx
from modeling_prompt_clip.modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.processing_prompt_clip import PromptCLIPProcessor

__all__ = ["OnnxExport", "export_onnx"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnnxExport:
    """Files of an export."""

    folder: Path  # where
    files: dict[str, int]  # bytes of each file, by its name
    # shape of what each graph takes, by the graph's file; a name stands for a size that is free
    inputs: dict[str, list[str | int]]
    deviations: dict[str, float]  # largest distance of an embedding from torch's, by the graph's file


def export_onnx(model: nn.Module, processor: PromptCLIPProcessor, folder: str | Path) -> OnnxExport:
    """Write `text.onnx`, `image.onnx` and the processor's files into a new folder.

    `text.onnx` takes `input_ids` `(captions, tokens)`, int64, and gives `text_embeds`; `image.onnx` takes
    `pixel_values` `(images, 3, height, width)`, float32, and gives `image_embeds`: both `(batch, projection_dim)` unit
    vectors, float32. Batch and length are free. `tokenizer.json` pads and cuts, `processor_config.json` resizes and
    normalises as the model needs. onnxruntime's results are compared with torch's before `folder` appears.

    Args:
        model: a PromptCLIP, or a PEFT model of one, of any dtype; it is not changed.
        processor: the model's own.
        folder: a new folder.

    Raises TypeError: another kind of model; ValueError: a processor of another size, adapters that cannot be merged,
    or embeddings that differ; OSError: the folder exists or cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists; name a folder that does not")
    model = exportable_copy(model)
    _check_image_size(model, processor)
    _check_finite(model)
    tokenizer = processor.tokenizer
    towers = (TextTower(model, tokenizer.eos_token_id, tokenizer.pad_token_id), ImageTower(model))
    with new_folder(folder) as written:
        model.config.save_pretrained(written)
        processor.save_pretrained(written)
        _write_tokenizer(processor, written / "tokenizer.json", towers[0].context)
        deviations = {}
        for tower in towers:
            logger.info("exporting and checking %s", tower.file_name)
            deviations[tower.file_name] = check_onnx(write_onnx(tower, written), tower)
        files = {path.name: path.stat().st_size for path in sorted(written.iterdir())}
    return OnnxExport(folder, files, {tower.file_name: tower.input_shape for tower in towers}, deviations)


def _check_finite(model: PromptCLIPModel) -> None:
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise ValueError(
                f"model {model.name_or_path!r} holds NaN or infinity in {name}; take weights of an earlier step"
            )


def _check_image_size(model: PromptCLIPModel, processor: PromptCLIPProcessor) -> None:
    size = model.config.vision_config.image_height_width
    if processor.image_size != size:
        raise ValueError(
            f"processor makes images of {processor.image_size}, the model takes {size} (height, width); give the "
            "model's own processor, as load_model returns it"
        )


def _write_tokenizer(processor: PromptCLIPProcessor, path: Path, context: int) -> None:
    """Write padding and truncation into tokenizer.json; transformers sets them at each call.

    The tokenizers library truncates before it adds start and end tokens, so the end token is kept.
    """
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(max_length=min(processor.tokenizer.model_max_length, context))
    tokenizer.enable_padding(pad_id=processor.tokenizer.pad_token_id, pad_token=processor.tokenizer.pad_token)
    tokenizer.save(str(path))
