"""Text in and out: bounded JSON and YAML, Markdown, terminals, suggestions."""
