"""A synthetic world: pedestrians before street cameras (target domain) and catalogue pictures (source domain).

Everything follows from integer seeds; no picture shows a real person. Needs only NumPy and Pillow.
"""

from dataset_scripts.synthetic.attributes import PersonAttributes, sample_attributes
from dataset_scripts.synthetic.catalogue import CATALOGUE_SIZE, render_catalogue_item
from dataset_scripts.synthetic.catalogue_set import CatalogueSet, load_catalogue_set
from dataset_scripts.synthetic.seeds import stream
from dataset_scripts.synthetic.street import IMAGE_SIZE, SyntheticImage, person_attributes, render_person

__all__ = [
    "CATALOGUE_SIZE",
    "IMAGE_SIZE",
    "CatalogueSet",
    "PersonAttributes",
    "SyntheticImage",
    "load_catalogue_set",
    "person_attributes",
    "render_catalogue_item",
    "render_person",
    "sample_attributes",
    "stream",
]
