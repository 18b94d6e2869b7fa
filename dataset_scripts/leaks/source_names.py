"""The source image that a file name stands for, if it proves that.

Person-search sets took images from older sets, some with their names. A name is evidence only if its source used it
once: one with camera, day, frame and box is, a number (`1.jpg`) or a new name (RSTPReid's `0000_c14_0031.jpg`) is not.
"""

import re
from types import MappingProxyType

__all__ = ["source_name"]

# Each pattern is searched at the end of the path, without the file's ending.
_PATTERNS = MappingProxyType(
    {
        # person, number, camera, day and time of day, frame, box: 0000_000_01_0303morning_0015_0.jpg (ICFG-PEDES)
        "MSMT17": re.compile(r"(?:^|/)(\d{4}_\d{3}_\d{2}_\d{4}(?:morning|noon|afternoon)_\d{4}_\d+(?:_ex)?)$"),
        # person, camera and sequence, frame, box: 0002_c1s1_000451_03.jpg; -1 marks boxes without a person
        "Market-1501": re.compile(r"(?:^|/)((?:-1|\d{4})_c[1-6]s\d_\d{6}_\d{2})$"),
        # person and scene: p11600_s14885.jpg (train_query/ and test_query/ of CUHK-PEDES)
        "CUHK-SYSU": re.compile(r"(?:^|/)(p\d+_s\d+)$"),
        # person and shot: 0363004.png is only a number, and needs its folder CUHK01/
        "CUHK01": re.compile(r"(?:^|/)cuhk01/(\d{7})$"),
    }
)
_ENDINGS = re.compile(r"(\.(jpe?g|png|bmp|webp|tiff?))+$")


def source_name(image_id: str) -> str | None:
    """Return an image's source and name, equal for every copy, or None.

    Folders, extension and case do not count.

    >>> source_name("icfg_pedes/test/0627/0627_010_05_0303afternoon_1591_0.jpg")
    'MSMT17 0627_010_05_0303afternoon_1591_0'
    >>> source_name("1.jpg")
    """
    stem = _ENDINGS.sub("", image_id.lower())
    for source, pattern in _PATTERNS.items():
        if found := pattern.search(stem):
            return f"{source} {found[1]}"
    return None
