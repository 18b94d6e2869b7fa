"""Annotation files to rows: their rules, captions, splits, and the problems that are told."""
