"""Cache keys: hashes of files, and declared versions of our own rules."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["HASH_RULES", "RENDERER_RULES", "ROW_RULES", "hash_files"]

# raise the number with any change of code that changes what is cached; test_cache_key.py fails otherwise
ROW_RULES = 1  # the rows made from annotations: formats, cleaning of captions, drawn splits
RENDERER_RULES = 1  # pictures and captions of the synthetic set
HASH_RULES = 1  # perceptual hashes and signatures of images


def hash_files(files: Iterable[str | Path], *extra: str) -> str:
    """Hash the contents of files, in order, and further strings.

    Names and dates of the files do not count. Returns 16 hexadecimal digits of SHA-256; raises OSError for an
    unreadable file.
    """
    digest = hashlib.sha256()
    for file in files:
        # each part is hashed separately, so that text moving from one file to the next changes the result
        with open(file, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    for text in extra:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()[:16]
