"""Verbs of `prompt-clip data`: check a folder, convert it to Parquet, push it to the Hub."""
