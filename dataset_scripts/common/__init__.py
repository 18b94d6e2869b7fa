"""What all three packages stand on: no import of `datasets` or `torch` here."""

__version__ = "0.1.0"
