"""Shared by all three packages; imports neither `datasets` nor `torch`."""

__version__ = "0.1.0"
