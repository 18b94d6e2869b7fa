"""Search a folder of images by a sentence, with onnxruntime, tokenizers, numpy and Pillow alone.

Images are read and sentences cleaned as in training, by code copied from the package.

python search_with_onnxruntime.py EXPORT_FOLDER IMAGE_FOLDER "a woman in a red coat with a black backpack"
"""

import html
import json
import re
import sys
import unicodedata
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import ExifTags, Image, ImageOps
from tokenizers import Tokenizer

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
BATCH = 32
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "AVIF")
LONGEST_CAPTION = 20_000  # characters: models read some 77 tokens, and tokenizing megabytes takes a minute
_UNWRITTEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")
_STRAIGHT_QUOTES = str.maketrans({**dict.fromkeys("‘’‚‛′ʼ", "'"), **dict.fromkeys("“”„‟″", '"')})
_ADDRESS_OR_MARK = re.compile(
    r"(?<![\w.+-])(?:(?:https?://|www\.)\S+|[\w.+-]+@\S+)| ?(?P<mark>[.,;:!?])(?: ?(?P=mark))*", re.IGNORECASE
)
_CLOSING = frozenset("\"')]}%.,;:!?")


def pixel_values(path: Path, settings: dict) -> np.ndarray:
    """An image as the model takes it, `(3, height, width)`, float32."""
    size = settings["size"]["width"], settings["size"]["height"]
    with Image.open(path, formats=IMAGE_FORMATS) as image:
        resized = to_rgb(image).resize(size, settings["resample"])
    pixels = np.asarray(resized) * settings["rescale_factor"]
    normalized = (pixels - settings["image_mean"]) / settings["image_std"]
    return normalized.transpose(2, 0, 1).astype(np.float32)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB as the eye sees it: upright by EXIF, transparency on white.

    16-bit grey keeps its upper 8 bits, where Pillow would turn everything above 255 white. Of an animation the current
    frame is taken.

    Raises:
        TypeError: not a Pillow image.
        ValueError: a mode without a defined white: floating point, integers beyond 16 bits, LAB.
        OSError: the file cannot be decoded.
    """
    if not isinstance(image, Image.Image):
        raise TypeError(f"image is {type(image).__name__}: it must be a PIL.Image.Image.")
    image.load()
    if image.getexif().get(ExifTags.Base.Orientation) in range(2, 9):
        image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("the image has mode F, floating point without a defined white: convert it to mode L or RGB.")
    if image.mode.startswith("I"):
        image = _upper_byte(image)
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data or image.mode == "RGBa":
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _upper_byte(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"the image has mode {image.mode} and values from {values.min()} to {values.max()}, beyond 16 bits: scale "
            "them to 0..255 and save it in mode L."
        )
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def clean_caption(text: str) -> str:
    """Tidy a caption's spaces and punctuation.

    In order:

    1. HTML entities (`&amp;`, `&#39;`) become characters, repeatedly, as in OpenAI's code.
    2. Control characters, line breaks and lone surrogates become spaces; soft hyphens, zero-width spaces and byte
       order marks are removed.
    3. Unicode is composed (NFC), as CLIP's tokenizer does. NFKC would rewrite letters and digits (`½`, `m²`).
    4. Typographic quotes become ASCII: ftfy did so for CLIP's training text, and the tokenizer knows the `'s` of
       `man's`. Dashes and `…` stay, as they do there.
    5. Runs of white space become one space; both ends are stripped.
    6. Around `. , ; : ! ?`: repeated marks become one, the space before is removed, and one is added after where a
       letter follows: `shirt ,he` -> `shirt, he`, `shirt.His` -> `shirt. His`. Numbers (`1.80`, `10:30`, ` .5`), dots
       after a single letter (`e.g.`, `U.S.`, `T.shirt`), and web and mail addresses are left unchanged.
    7. Texts are cut at 20,000 characters, hundreds of times what a model reads.

    Idempotent; a caption with a letter or digit never becomes empty.

    >>> clean_caption("A man in a red shirt.His shoes are  white ,, he is 1.80 m tall .")
    'A man in a red shirt. His shoes are white, he is 1.80 m tall.'
    """
    text = text[: 10 * LONGEST_CAPTION]
    while (unescaped := html.unescape(text)) != text:
        text = unescaped
    text = _INVISIBLE.sub("", _UNWRITTEN.sub(" ", text))
    text = unicodedata.normalize("NFC", text).translate(_STRAIGHT_QUOTES)
    return _ADDRESS_OR_MARK.sub(_spaced_mark, " ".join(text.split()))[:LONGEST_CAPTION].strip()


def _spaced_mark(match: re.Match[str]) -> str:
    mark = match["mark"]
    before = match.string[max(0, match.start() - 2) : match.start()]
    after = match.string[match.end() : match.end() + 1]
    spaced = match[0].startswith(" ")
    in_number = after.isdigit() and (before[-1:].isdigit() or (mark == "." and spaced))
    if mark is None or in_number:
        return match[0]
    single_letter = before[-1:].isalpha() and not before[:-1].isalpha()
    abbreviation = mark == "." and single_letter and not spaced
    ends_something = before[-1:].isalnum() or before[-1:] in _CLOSING
    return f"{mark} " if after.isalpha() and ends_something and not abbreviation else mark


def main(export: Path, folder: Path, sentence: str) -> None:
    """Write the ten images that fit the sentence best, with their cosines."""
    settings = json.loads((export / "processor_config.json").read_text())["image_processor"]
    tokenizer = Tokenizer.from_file(str(export / "tokenizer.json"))  # pads and cuts as the model wants it
    text_tower, image_tower = (onnxruntime.InferenceSession(export / f"{name}.onnx") for name in ("text", "image"))
    input_ids = np.array([encoding.ids for encoding in tokenizer.encode_batch([clean_caption(sentence)])])
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
