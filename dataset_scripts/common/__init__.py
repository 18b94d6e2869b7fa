"""What all three packages stand on: no import of `datasets` or `torch` here."""
