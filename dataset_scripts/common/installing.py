"""Installation hints for missing optional packages."""

__all__ = ["install_hint"]


def install_hint(extra: str) -> str:
    """Return the command that installs an extra, and where to run it.

    The package is not registered on PyPI: its name there could be anybody's, so no message may send people to it.

    Args:
        extra: `"train"`, `"export"`, ...
    """
    return f'pip install -e ".[{extra}]" in a checkout of PromptCLIP'
