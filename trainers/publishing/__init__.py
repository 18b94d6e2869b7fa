"""Publishing of runs as model repositories on the Hub."""

from trainers.publishing.content import write_content
from trainers.publishing.push import push_run
from trainers.publishing.uploads import HubUploads

__all__ = ["HubUploads", "push_run", "write_content"]
