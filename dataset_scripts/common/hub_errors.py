"""Errors of the Hub and the connection, in one line with a remedy."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import is_offline_mode

# HTTPError is the base of all errors of the HTTP client that huggingface_hub uses, which it names here.
from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError

__all__ = ["hub_errors_in_words"]

_LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN to a token of an account that may use it."
_REMEDIES = {
    401: f"The Hub does not know who asks, or has no such repository. {_LOG_IN}",
    403: "This account or token may not do that. To push, take a token with write permission and a repository of your "
    "own; to load, ask for access on the repository's page.",
    404: f"There is no such repository or revision, or it is private. Check its name. {_LOG_IN}",
    409: "Somebody else is changing the repository. Try again.",
    412: "Somebody else has changed the repository meanwhile. Try again.",
    413: "It is too large for the Hub. Make the files smaller, or ask for more space.",
    429: "Too many requests. Wait some minutes and try again.",
}
_SERVER_FAULT = "The Hub has a fault. Try again later: what has been uploaded is not sent again."
_OTHER = "Check the repository's name and the account's rights."
_NO_CONNECTION = (
    "the connection to the Hub failed or was lost ({}). Check the network and try again: what has "
    "been uploaded is not sent again."
)
_OFFLINE = "HF_HUB_OFFLINE is set, so no connection is made. Unset it."
# What a server may have taken from a request into its words.
_TOKEN = re.compile(r"hf_\w+")


@contextmanager
def hub_errors_in_words(repo_id: str, done: str) -> Iterator[None]:
    """Turn the Hub's errors into one-line `OSError`s that never show the token.

    Args:
        repo_id: the repository.
        done: the attempted action as a participle: `loaded`, `pushed`.

    Raises OSError: for an error of the Hub or the connection; other errors pass.
    """
    try:
        yield
    except (HTTPError, OSError, RuntimeError, json.JSONDecodeError) as error:
        cause = _explanation(error)
        if cause is None:
            raise
        raise OSError(f"{repo_id} cannot be {done}: {cause}") from error


def _explanation(error: BaseException | None) -> str | None:
    while error is not None:
        if isinstance(error, HfHubHTTPError):
            status = error.response.status_code
            remedy = _REMEDIES.get(status) or (_SERVER_FAULT if status >= 500 else _OTHER)
            return f"HTTP status {status}{_server_words(error)}. {remedy}"
        if isinstance(error, LocalTokenNotFoundError):
            return f"there is no token. {_LOG_IN}"
        if isinstance(error, (HTTPError, ConnectionError)):
            return _OFFLINE if is_offline_mode() else _NO_CONNECTION.format(type(error).__name__)
        if isinstance(error, json.JSONDecodeError):
            return "what answered is not the Hub. Check HF_ENDPOINT and the network's proxy."
        error = error.__cause__ or error.__context__
    return None


def _server_words(error: HfHubHTTPError) -> str:
    words = " ".join(_TOKEN.sub("hf_...", error.server_message or "").split())
    return f" ({words})" if words else ""
