"""The folder of a run: settings, figures, checkpoints, its lock, and where it goes on."""
