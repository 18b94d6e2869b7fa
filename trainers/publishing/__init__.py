"""A finished run as a model repository on the Hub, that loads with this package or without it."""

from trainers.publishing.content import write_content
from trainers.publishing.push import push_run
from trainers.publishing.uploads import HubUploads

__all__ = ["HubUploads", "push_run", "write_content"]
