"""Annotation files to checked rows: captions, splits, kinds of problems."""
