"""Rows of a data set to batches of pairs: splits, samplers, tokens, streams."""
