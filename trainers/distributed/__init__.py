"""Several processes: launches, gathering, sharded models, signals."""
