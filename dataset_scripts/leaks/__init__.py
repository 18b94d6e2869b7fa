"""Leaks between splits: image hashes, near duplicates, source names, the guard."""
