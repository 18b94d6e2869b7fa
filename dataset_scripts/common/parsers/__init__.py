"""Command lines of `modeling_prompt_clip`'s verbs, kept here for a fast start."""
