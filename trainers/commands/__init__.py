"""What `prompt-clip` runs: train, evaluate, demo, push."""
