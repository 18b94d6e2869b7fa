"""Changes to images and captions while training: crops, colours, left-out and masked words."""
