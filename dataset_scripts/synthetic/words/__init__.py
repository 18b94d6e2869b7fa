"""The words for a drawn person: names of things, phrases, sentences."""
