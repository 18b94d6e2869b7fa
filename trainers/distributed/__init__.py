"""Several processes: launching, gathering embeddings, cut models, signals."""
