"""From rows of a data set to batches: splits, samplers, tokens, streams."""
