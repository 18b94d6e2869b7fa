"""Upload a converted set to the Hub, private unless its terms allow publication."""

import logging
from dataclasses import replace
from pathlib import Path

from dataset_scripts.common.hub import PushedRepository, check_repo_id, push_folder
from dataset_scripts.common.upload_files import select_files
from dataset_scripts.parquet.card import CARD
from dataset_scripts.parquet.manifest import MANIFEST, Manifest
from dataset_scripts.parquet.shards import check_file

__all__ = ["push_dataset"]

LOCK = ".lock"  # which a conversion leaves

logger = logging.getLogger(__name__)


def push_dataset(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = True,
    right_to_publish: bool = False,
    token: str | None = None,
) -> PushedRepository:
    """Upload a finished conversion as a dataset repository, byte for byte.

    The folder is first checked against its record and never changed. Pushing again uploads the differences, removes
    shards that are no longer part of the set, and resumes an interrupted push.

    Args:
        folder: made by `convert_to_parquet`.
        repo_id: `USER/NAME`; created if missing.
        private: False makes a new repository public.
        right_to_publish: the user claims the right to publish a set whose terms do not allow it in general.
        token: of the Hub; by default that of `hf auth login` or `HF_TOKEN`.

    Raises:
        ValueError: an invalid name, an unfinished conversion, a public repository for a set that may not be published,
            a link that leaves the folder.
        OSError: the folder is damaged; the Hub refuses, fails or cannot be reached.
    """
    folder = Path(folder).expanduser().absolute()
    manifest = _finished(folder)
    check_repo_id(repo_id)
    _check_right(manifest, right_to_publish, to_be_public=not private)
    listed = {CARD, MANIFEST, *manifest.shards}
    left_out = tuple(name for name in select_files(folder, listed.__contains__).left_out if name != LOCK)
    if left_out:
        logger.warning("not uploaded, as no part of the set: %s", ", ".join(left_out))
    pushed = push_folder(
        folder,
        repo_id,
        "dataset",
        private=private,
        message=f"Upload {manifest.source.name}",
        replaced=["*.parquet"],
        allowed=sorted(listed),
        token=token,
    )
    return replace(pushed, left_out=left_out)


def _finished(folder: Path) -> Manifest:
    manifest = Manifest.read(folder)
    if manifest is None:
        raise FileNotFoundError(f"{folder} has no {MANIFEST}: it is no conversion. Run prompt-clip data convert.")
    if not manifest.complete:
        raise ValueError(f"the conversion into {folder} is not finished. Run prompt-clip data convert again.")
    if not (folder / CARD).is_file():
        raise FileNotFoundError(f"{folder} has no {CARD}. Run prompt-clip data convert again: it writes one.")
    for name, record in manifest.shards.items():
        check_file(folder / name, record)
    return manifest


def _check_right(manifest: Manifest, right_to_publish: bool, to_be_public: bool) -> None:
    if to_be_public and not right_to_publish and manifest.source.open_licence is None:
        terms = manifest.source.terms or "not stated"
        raise ValueError(
            f"{manifest.source.name} may not be made public: its terms are {terms!r}. Push it as private, or pass "
            "--i_have_the_right_to_publish if you have its authors' permission."
        )
