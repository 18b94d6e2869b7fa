"""The folder of a run: settings, figures, checkpoints, lock, and resuming."""
