"""Rules for reading one image file, shared by checks, builders and training.

>>> data = read_image_file("p1.jpg")
>>> picture = decode_image(open_image(data, "p1.jpg"), "p1.jpg")
"""

from dataset_scripts.common.images.reading import (
    DECODING_ERRORS,
    IMAGE_FORMATS,
    IMAGE_SUFFIXES,
    ImageError,
    decode_image,
    ends_whole,
    is_rotated,
    open_image,
    read_image_file,
    to_rgb,
)

__all__ = [
    "DECODING_ERRORS",
    "IMAGE_FORMATS",
    "IMAGE_SUFFIXES",
    "ImageError",
    "decode_image",
    "ends_whole",
    "is_rotated",
    "open_image",
    "read_image_file",
    "to_rgb",
]
