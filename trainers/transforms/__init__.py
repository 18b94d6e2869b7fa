"""Augmentations of training images and captions."""
