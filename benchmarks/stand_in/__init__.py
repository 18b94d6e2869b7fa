"""The stand-in CLIP's factory: catalogue pictures with alt texts, and its pretraining."""
