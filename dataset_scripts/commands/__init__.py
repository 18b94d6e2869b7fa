"""Verbs of `prompt-clip data`: check, convert, push."""
