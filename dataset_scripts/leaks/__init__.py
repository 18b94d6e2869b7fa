"""Images of one split in another: hashes, near duplicates, names, the guard."""
