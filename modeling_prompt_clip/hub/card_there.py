"""Read a repository's card; a failing Hub is not a missing card."""

from pathlib import Path

import yaml
from huggingface_hub import HfApi, ModelCard

from dataset_scripts.common.hub_errors import hub_errors_in_words

__all__ = ["CARD", "card_there", "has_figures"]

CARD = "README.md"


def card_there(repo_id: str, revision: str | None = None, token: bool | str | None = None) -> str | None:
    """Read a repository's card; None if there is none.

    `revision` is a branch, by default the main one.

    Raises OSError: there is no such branch, or there may be a card that cannot be read.
    """
    api = HfApi(token=token)
    with hub_errors_in_words(repo_id, "pushed without its card being read"):
        info = api.model_info(repo_id, revision=revision)
        if CARD not in [file.rfilename for file in info.siblings or ()]:
            return None
        # by the commit: of a branch, the cache would give an older state where the Hub does not answer
        path = api.hf_hub_download(repo_id, CARD, revision=info.sha)
    return Path(path).read_text(encoding="utf-8", errors="replace")


def has_figures(card: str | None) -> bool:
    """Whether a card has evaluation results; an unreadable one counts as handwritten."""
    try:
        return card is not None and bool(ModelCard(card).data.get("eval_results"))
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return False
