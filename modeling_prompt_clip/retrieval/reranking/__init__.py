"""Second looks at a ranking: k-reciprocal neighbourhoods, k-NN query correction."""
