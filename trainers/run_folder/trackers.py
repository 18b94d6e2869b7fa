"""Trackers that a run reports to, by Accelerate's names."""

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import LoggerType

from dataset_scripts.common.text.suggest import did_you_mean


def trackers(report_to: str) -> list[str]:
    """Return names for `Accelerator(log_with=...)`, which silently drops unknown and missing trackers.

    Args:
        report_to: names separated by commas, "all" for all that are installed, or "none".

    Raises ValueError: a name is unknown, or its package is not installed.
    """
    names = [name.strip() for name in report_to.split(",")]
    installed = [str(each.value) for each in get_available_trackers()]
    if names == ["none"]:
        return []
    if names == ["all"]:
        return installed
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = sorted(LOGGER_TYPE_TO_CLASS)
            raise ValueError(
                f"report_to names {name!r}; it takes {', '.join(known)}, or 'all' or 'none' by itself."
                f"{did_you_mean(name, known)}"
            )
        if name in {each.value for each in LoggerType} and name not in installed:
            raise ValueError(
                f"report_to names {name!r}, which is not installed: pip install {name.replace('_', '-')}, or set "
                "report_to to none"
            )
    return names


__all__ = ["trackers"]
