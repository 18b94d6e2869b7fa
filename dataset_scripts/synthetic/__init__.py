"""A synthetic world: pedestrians before street cameras.

Everything follows from integer seeds; no picture shows a real person. Needs only NumPy and Pillow.
"""

from dataset_scripts.synthetic.attributes import PersonAttributes, sample_attributes
from dataset_scripts.synthetic.seeds import stream
from dataset_scripts.synthetic.street import IMAGE_SIZE, SyntheticImage, person_attributes, render_person

__all__ = [
    "IMAGE_SIZE",
    "PersonAttributes",
    "SyntheticImage",
    "person_attributes",
    "render_person",
    "sample_attributes",
    "stream",
]
