"""Search a folder of images by a sentence, with onnxruntime, tokenizers, numpy and Pillow alone.

python search_with_onnxruntime.py EXPORT_FOLDER IMAGE_FOLDER "a woman in a red coat with a black backpack"
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps
from tokenizers import Tokenizer

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
BATCH = 32


def pixel_values(path: Path, settings: dict) -> np.ndarray:
    """An image as the model takes it, `(3, height, width)`, float32."""
    size = settings["size"]["width"], settings["size"]["height"]
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB").resize(size, settings["resample"])
    pixels = np.asarray(upright) * settings["rescale_factor"]
    normalized = (pixels - settings["image_mean"]) / settings["image_std"]
    return normalized.transpose(2, 0, 1).astype(np.float32)


def main(export: Path, folder: Path, sentence: str) -> None:
    """Write the ten images that fit the sentence best, with their cosines."""
    settings = json.loads((export / "processor_config.json").read_text())["image_processor"]
    tokenizer = Tokenizer.from_file(str(export / "tokenizer.json"))  # pads and cuts as the model wants it
    text_tower, image_tower = (onnxruntime.InferenceSession(export / f"{name}.onnx") for name in ("text", "image"))
    input_ids = np.array([encoding.ids for encoding in tokenizer.encode_batch([sentence])])
    (text,) = text_tower.run(["text_embeds"], {"input_ids": input_ids})[0]
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    scores = []
    for start in range(0, len(paths), BATCH):
        batch = np.stack([pixel_values(path, settings) for path in paths[start : start + BATCH]])
        scores.extend(image_tower.run(["image_embeds"], {"pixel_values": batch})[0] @ text)
    for score, path in sorted(zip(scores, paths, strict=True), key=lambda hit: -hit[0])[:10]:
        sys.stdout.write(f"{score:7.4f}  {path}\n")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
