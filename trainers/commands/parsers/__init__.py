"""Command lines of `prompt-clip train, evaluate, demo, push`, without the imports of their work."""
