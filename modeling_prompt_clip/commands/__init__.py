"""Verbs of `prompt-clip` that need the model package alone; those that train or read data sets live in `trainers`."""
