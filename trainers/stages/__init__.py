"""One stage of training: model, loop, optimizer, checkpoints."""
