"""PromptCLIP's processor: CLIP's tokenizer and image processor at a rectangular size.

Image reading and caption cleaning duplicate `dataset_scripts.common.images` and
`dataset_scripts.annotations.captions`, which published models do not carry; a test keeps both the same.
"""

import base64
import html
import os
import re
import unicodedata
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from huggingface_hub.utils import httpx  # whichever of its releases the Hub client brings
from PIL import ExifTags, Image, ImageOps
from transformers import AutoImageProcessor, AutoProcessor, CLIPImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from .configuration_prompt_clip import PromptCLIPConfig
from .private_uploads import PrivateUploads
from .processor_files import PROCESSOR_FILE, load_image_processor, load_tokenizer, read_json_file

IMAGE_FORMATS = (
    "JPEG",
    "PNG",
    "BMP",
    "GIF",
    "PPM",
    "TIFF",
    "WEBP",
    "AVIF",
)  # Pillow knows more, some of which start programs
MOST_PIXELS = 1 << 26
FIT_OPTIONS = {"do_resize", "size", "resample"}
LONGEST_CAPTION = 20_000  # characters: models read some 77 tokens, and tokenizing megabytes takes a minute
_UNWRITTEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")
_STRAIGHT_QUOTES = str.maketrans({**dict.fromkeys("‘’‚‛′ʼ", "'"), **dict.fromkeys("“”„‟″", '"')})
_ADDRESS_OR_MARK = re.compile(
    r"(?<![\w.+-])(?:(?:https?://|www\.)\S+|[\w.+-]+@\S+)| ?(?P<mark>[.,;:!?])(?: ?(?P=mark))*", re.IGNORECASE
)
_CLOSING = frozenset("\"')]}%.,;:!?")


class PromptCLIPProcessor(PrivateUploads, ProcessorMixin):
    """Turn captions into `input_ids` and images into `pixel_values`.

    Captions are cleaned as in training (`clean_caption`), padded to the longest of the batch and truncated to the
    model's context, end token kept. There is no attention mask: the pooled end token never sees padding. Images go
    through `to_rgb` and are resized bicubically, aspect not kept, by Pillow on every machine.

    Args:
        image_processor: resizes to `height` and `width`; another backend's is converted to Pillow's.
        tokenizer: the model's CLIP tokenizer.
        clean_captions: False for a model trained on raw captions.
    """

    # what holds where neither the caller nor the saved tokenizer says anything
    text_kwargs: dict[str, Any] = {
        "padding": "longest",
        "truncation": True,
        "return_attention_mask": False,
        "return_tensors": "pt",
    }
    images_kwargs: dict[str, Any] = {"return_tensors": "pt"}

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, clean_captions: bool = True, **kwargs: Any
    ) -> None:
        if image_processor is not None and not isinstance(image_processor, CLIPImageProcessorPil):
            image_processor = CLIPImageProcessorPil.from_dict(image_processor.to_dict())
        if tokenizer is not None:  # an older cut, of tokenizer.json, would win over model_max_length
            getattr(tokenizer, "init_kwargs", {}).pop("max_length", None)
        if not isinstance(clean_captions, bool):
            raise ValueError(
                f"clean_captions of the processor ({PROCESSOR_FILE}) is {clean_captions!r}; it must be true or false"
            )
        super().__init__(image_processor, tokenizer, **kwargs)
        self.clean_captions = clean_captions

    @classmethod
    def from_clip(
        cls, name_or_path: str | os.PathLike, image_size: tuple[int, int] | None = (384, 128), **kwargs: Any
    ) -> "PromptCLIPProcessor":
        """Load the processor that matches `PromptCLIPModel.from_clip(name_or_path, image_size)`.

        Everything but the size comes from the checkpoint, or is CLIP's default without a preprocessor_config.json.

        Raises OSError: no tokenizer or configuration, or a damaged file; ValueError: not a CLIP, or another model's
        tokenizer.
        """
        config = PromptCLIPConfig.from_pretrained(name_or_path, **kwargs)
        height, width = image_size or config.vision_config.image_height_width
        tokenizer = load_tokenizer(name_or_path, config, **kwargs)
        size = {"height": height, "width": width}
        fit = {"size": size, "crop_size": size, "do_center_crop": False}
        image_processor = load_image_processor(name_or_path, fit, **kwargs)
        saved = read_json_file(name_or_path, PROCESSOR_FILE, **kwargs) or {}
        return cls(image_processor, tokenizer, clean_captions=saved.get("clean_captions", True))

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, processor_dict: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Use our readers: the Auto classes can run a repository's code."""
        name = pretrained_model_name_or_path
        has_model = read_json_file(name, "config.json", **kwargs) is not None
        config = PromptCLIPConfig.from_pretrained(name, **kwargs) if has_model else None
        return [load_image_processor(name, **kwargs), load_tokenizer(name, config, **kwargs)]

    def to_dict(self) -> dict[str, Any]:
        """Name Pillow's image processor; transformers leaves the backend open."""
        settings = super().to_dict()
        if "image_processor" in settings:
            settings["image_processor"]["image_processor_type"] = CLIPImageProcessorPil.__name__
        return settings

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors that a call returns by default."""
        return [name for name in super().model_input_names if name != "attention_mask"]

    @property
    def image_size(self) -> tuple[int, int]:
        """`(height, width)` of the output images in pixels."""
        return self.image_processor.size["height"], self.image_processor.size["width"]

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> Any:
        """Process captions, images, or both.

        Args:
            images: one or a list of PIL images, paths or URLs; arrays and tensors must be upright RGB.
            text: one or a list of captions.
            **kwargs: as for any processor; by default tensors, padded and truncated.

        Returns: `BatchFeature` with `input_ids` `(captions, tokens)` and `pixel_values` `(images, 3, height, width)`.

        Raises ValueError: an image that `to_rgb` refuses, or a file of more than 67 million pixels; OSError: an
        unreadable image.
        """
        if images is not None:
            fit = self._fit({*kwargs, *kwargs.get("common_kwargs", {}), *kwargs.get("images_kwargs", {})})
            images = _each(images, lambda picture: _prepared(picture, *fit))
        if text is not None and self.clean_captions:
            text = _each(text, lambda caption: clean_caption(caption) if isinstance(caption, str) else caption)
        return super().__call__(images=images, text=text, **kwargs)

    def _fit(self, passed: set[str]) -> tuple[tuple[int, int] | None, int | None]:
        """Size and filter for resizing images one by one."""
        settings = self.image_processor
        height, width = settings.size.get("height"), settings.size.get("width")
        if passed & FIT_OPTIONS or not (settings.do_resize and height and width):
            return None, None
        return (width, height), settings.resample


def _each(values: Any, change: Callable[[Any], Any]) -> Any:
    return [_each(value, change) for value in values] if isinstance(values, list | tuple) else change(values)


def _prepared(picture: Any, size: tuple[int, int] | None, resample: int | None) -> Any:
    """RGB at `size`, `(width, height)`, if given; arrays and tensors unchanged."""
    if isinstance(picture, str | os.PathLike):
        picture = _opened(picture)
    if not isinstance(picture, Image.Image):
        return picture
    try:
        picture = to_rgb(picture)
    except SyntaxError as error:  # what Pillow raises on damaged PNG chunks and EXIF data
        raise OSError(f"the picture cannot be decoded ({error})") from error
    return picture.resize(size, resample) if size else picture


def _opened(source: str | os.PathLike) -> Image.Image:
    """Open a file, URL or base64 string, the inputs that transformers takes."""
    name = os.fspath(source)
    file = name
    if name.startswith(("http://", "https://")):
        file = BytesIO(httpx.get(name, follow_redirects=True).raise_for_status().content)
    elif name.startswith("data:image/"):
        file, name = BytesIO(base64.b64decode(name.partition(",")[2])), "data:image/"
    elif len(name) > 1024 and not os.path.isfile(name):
        file, name = BytesIO(base64.b64decode(name)), "in base64"
    try:
        picture = Image.open(file, formats=IMAGE_FORMATS)
    except Image.DecompressionBombError as error:
        raise ValueError(f"picture {name} has too many pixels ({error}); crop the person") from error
    except SyntaxError as error:
        raise OSError(f"picture {name} cannot be decoded ({error})") from error
    if picture.width * picture.height > MOST_PIXELS:
        raise ValueError(f"picture {name} has {picture.width} x {picture.height} pixels; crop the person")
    return picture


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


AutoProcessor.register(PromptCLIPConfig, PromptCLIPProcessor, exist_ok=True)
# by the saved type, AutoImageProcessor and pipelines find this entry: Pillow also where torchvision is installed
AutoImageProcessor.register(
    PromptCLIPConfig,
    image_processor_classes={"pil": CLIPImageProcessorPil, "torchvision": CLIPImageProcessorPil},
    exist_ok=True,
)

__all__ = ["PromptCLIPProcessor", "clean_caption", "load_tokenizer", "to_rgb"]
