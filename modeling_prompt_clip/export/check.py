"""Compare an ONNX file with torch."""

from pathlib import Path

import onnxruntime
import torch

from modeling_prompt_clip.export.towers import Tower

__all__ = ["TOLERANCE", "check_onnx"]

TOLERANCE = 1e-4
"""The most that an embedding may move, as a Euclidean distance: no cosine with a unit vector moves by more.

Rounding in float32 moves those of a ViT-B/16 by about 1e-6; a graph that is wrong moves them by far more.
"""


def check_onnx(path: Path, tower: Tower) -> float:
    """Return the largest distance of an embedding by onnxruntime from torch's.

    Raises ValueError: more than `TOLERANCE`, an embedding that is not finite, or an input whose sizes are not free.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    if shape != tower.input_shape:
        raise ValueError(
            f"{path.name} takes {tower.input_name} of shape {shape}; it must be {tower.input_shape}, where names are "
            "free sizes that torch's exporter has fixed here; export with the versions in constraints.txt"
        )
    return max(_distance(session, tower, batch, path.name) for batch in tower.samples())


def _distance(session: onnxruntime.InferenceSession, tower: Tower, batch: torch.Tensor, file_name: str) -> float:
    with torch.inference_mode():
        expected = tower(batch)
    (found,) = session.run([tower.output_name], {tower.input_name: batch.numpy()})
    distance = (torch.from_numpy(found) - expected).norm(dim=-1).max().item()
    if not distance <= TOLERANCE:  # also where it is NaN
        raise ValueError(
            f"{file_name} differs from torch: embeddings of {tower.input_name} of shape {tuple(batch.shape)} are "
            f"{distance:.1e} apart, at most {TOLERANCE:.0e} is allowed; look for NaN or diverged weights, else export "
            "with the versions in constraints.txt"
        )
    return distance
