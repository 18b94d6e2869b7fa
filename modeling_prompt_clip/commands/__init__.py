"""Commands of `prompt-clip` that need only the model package."""
