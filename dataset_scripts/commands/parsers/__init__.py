"""Command lines of `prompt-clip data ...`, without the imports of their work."""
