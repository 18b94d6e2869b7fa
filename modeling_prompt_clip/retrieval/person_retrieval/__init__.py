"""A metric of the `evaluate` library, as a folder for `evaluate.load`."""
