"""Recipes of training, and launches for Accelerate."""
