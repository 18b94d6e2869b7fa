"""The test Hub (`hub_server`) in a process of its own, and a handle to control it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.managers import BaseManager, BaseProxy, MakeProxyType
from typing import Any

from hub_server import Handler
from hub_state import Hub

__all__ = ["running_hub"]

_METHODS = (
    "add_commit", "add_repository", "clear", "drop", "environment", "fail", "files", "heal", "impersonate",
    "repository", "requested",
)  # fmt: skip


class HubHandle(MakeProxyType("_HubMethods", _METHODS)):
    """Call the Hub's methods in its process; results and attributes are copies."""

    def __getattr__(self, name: str) -> Any:
        return BaseProxy._callmethod(self, "__getattribute__", (name,))


class _HubManager(BaseManager):
    """Starts the other process, and serves the handle there."""


def _the_hub() -> Hub:
    """The one Hub of this process; its server answers until the process ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.hub = Hub(url=f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.hub


_HubManager.register("hub", callable=_the_hub, proxytype=HubHandle, exposed=(*_METHODS, "__getattribute__"))


@contextmanager
def running_hub() -> Iterator[HubHandle]:
    """Runs a Hub on a free port of this machine, in another process, until the end of the block."""
    with _HubManager(ctx=get_context("spawn")) as manager:
        yield manager.hub()
