"""Command lines of the trainers' verbs, quick to import."""
