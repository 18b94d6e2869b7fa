"""What the caches follow from: the content of files, and rules of ours with numbers."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["HASH_RULES", "RENDERER_RULES", "ROW_RULES", "hash_files"]

# raise a number with every change of code that changes what is cached; test_cache_key.py tells
ROW_RULES = 1  # the rows made from annotations: formats, cleaning of captions, drawn splits
RENDERER_RULES = 1  # pictures and captions of the synthetic set
HASH_RULES = 1  # perceptual hashes and signatures of images


def hash_files(files: Iterable[str | Path], *extra: str) -> str:
    """Hash the contents of files, in their order, and further strings; names and dates do not count.

    Returns:
        16 hexadecimal digits of SHA-256: short enough for a folder's name, and long enough (64 bits) that two versions
        of a file never meet.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        # each part is hashed separately, so that text moving from one file to the next changes the result
        with open(file, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    for text in extra:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()[:16]
