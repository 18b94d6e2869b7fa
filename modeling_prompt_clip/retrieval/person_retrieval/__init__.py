"""A metric of the `evaluate` library, as a folder that it can load."""
