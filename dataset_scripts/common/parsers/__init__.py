"""Command lines of the verbs in `modeling_prompt_clip`, here because importing that package takes seconds."""
