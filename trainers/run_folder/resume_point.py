"""Find where a run resumes, and check it before the first step."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataset_scripts.common.files import write_json
from trainers.data.fingerprint import check_same_data
from trainers.run_folder.checkpoint_store import Checkpoint, CheckpointStore
from trainers.run_folder.files import read_arguments, wrong_progress
from trainers.run_folder.folder import RunFolder
from trainers.run_folder.hashes import check_hashes, file_hashes, is_hashes
from trainers.run_folder.model_fingerprint import check_same_model
from trainers.run_folder.results import StageResult, stage_result

START_AGAIN = "put it back from a copy, or start the run again with overwrite_output_dir"

logger = logging.getLogger(__name__)


def resume_point(
    run: RunFolder, store: CheckpointStore, fingerprint: Mapping[str, Any], model: Mapping[str, str]
) -> tuple[dict[str, StageResult], Checkpoint | None]:
    """Return the finished stages and the checkpoint to resume from, both complete.

    Damaged weights of a finished stage are made again from an earlier state.

    Args:
        run: the folder.
        store: its checkpoints.
        fingerprint: of the present data.
        model: fingerprint of the model that the run starts from.

    Raises OSError, ValueError: something is missing or damaged and nothing earlier is complete; or the data or the
        model differ.
    """
    finished = run.finished()
    if not finished:
        finished = _told_by_checkpoint(run, store)
    for stage in reversed(list(finished)):
        if not _is_whole(run, store, stage, finished[stage]):
            del finished[stage]
            run.forget_stage(stage)
    checkpoint = store.newest(without=finished)
    if checkpoint is None and not finished and store.has_states():
        raise ValueError(
            f"no checkpoint in {store.folder} is whole, the warnings say why: put the files back from a copy, or "
            "start the run again with overwrite_output_dir"
        )
    for stage, folder in (("one", run.adapter), ("two", run.model)):
        if stage not in finished and folder.exists():
            raise FileNotFoundError(
                f"{run.progress} does not say how stage {stage} ended, but {folder} is there: {START_AGAIN}"
            )
    if checkpoint is not None and checkpoint.stage == "two" and not _starts_with_two(run) and "one" not in finished:
        raise FileNotFoundError(f"{run.progress} does not say how stage one ended: {START_AGAIN}")
    for place, before in [(run.progress, entry) for entry in finished.values()] + (
        [(checkpoint.path, checkpoint.facts)] if checkpoint else []
    ):
        check_same_data(before.get("data"), fingerprint, Path(place))
        check_same_model(before.get("model"), model, Path(place))
    return {name: stage_result(entry) for name, entry in finished.items()}, checkpoint


def _is_whole(run: RunFolder, store: CheckpointStore, stage: str, entry: dict[str, Any]) -> bool:
    """Whether the weights of a finished stage are complete; False if a state can make them again.

    Raises OSError, ValueError: they are not, and nothing can make them again.
    """
    folder, hashes = run.weights_of(stage), entry.get("weights")
    if hashes is not None and not is_hashes(hashes):
        raise ValueError(f"{run.progress}: weights of stage {stage} are no hashes; {START_AGAIN}")
    try:
        if not folder.exists():
            merged = store.folder / "merged"  # of low-rank updates, whose hashes are those of the merged model
            if stage == "two" and merged.is_dir():
                check_hashes(merged, hashes or {})
                return True
            store.check_best(stage, entry["best_step"], hashes)
        elif hashes is None:
            logger.warning("%s was written without hashes by an earlier version: it is hashed from now on", folder)
            run.note(stage, weights=file_hashes(folder))
        else:
            check_hashes(folder, hashes)
    except (OSError, ValueError) as error:
        others = [name for name in ("one", "two") if name != stage]
        if not folder.exists() and store.newest(without=others) is not None:
            logger.warning("%s; stage %s resumes from the state before", error, stage)
            return False
        raise type(error)(f"{error}: {START_AGAIN}") from error
    return True


def _told_by_checkpoint(run: RunFolder, store: CheckpointStore) -> dict[str, dict[str, Any]]:
    """Restore a missing `progress.json` from the newest complete state."""
    checkpoint = store.newest()
    told = checkpoint.facts.get("finished") if checkpoint is not None else None
    if not told or wrong_progress(told):
        return {}
    logger.warning("%s is missing: written again from %s", run.progress, checkpoint.path)
    write_json(run.progress, told)
    return dict(told)


def _starts_with_two(run: RunFolder) -> bool:
    return "one" not in read_arguments(run.config).stages


__all__ = ["resume_point"]
