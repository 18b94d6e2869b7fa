"""MALS, 1.5 million generated images with captions and attributes, for pre-training."""

from types import MappingProxyType

from dataset_scripts.annotations.rows import AnnotationRow
from dataset_scripts.formats.base import AnnotationFormat, SplitCounts

__all__ = ["Mals"]


class Mals(AnnotationFormat):
    """MALS: pedestrians drawn by a generative model, one caption and 27 attributes an image.

    Layout: the annotation's many files `g_*_attrs.json`, in `gene_attrs/` or in the folder itself, and the images
    below the folder as the files name them (`gene_crop/c_g_a_0/0.jpg`). Each file is a list of objects with `image`,
    `caption` (one sentence) and `image_id` (a text that is not read); neither is `label` (27 numbers: 1, 0, or -1
    where an attribute is not known).

    The set has neither splits nor persons: each image counts as a person of its own, numbered by its place in the
    files, which are read in the order of their names. It tells no cameras.

    Terms: research only, no commercial use. The data is neither shipped nor downloaded here.
    Source: Yang et al., "Towards Unified Text-based Person Retrieval: A Large-scale Multi-Attribute and Language
    Search Benchmark", ACM Multimedia 2023, https://arxiv.org/abs/2306.02898.
    """

    name = "mals"
    title = "MALS"
    annotation_files = ("gene_attrs/g_*_attrs.json", "g_*_attrs.json")
    image_folder = ""
    first_row_fields = ("image", "caption")
    split_field = None
    image_field = "image"
    identity_per_image = True
    published = MappingProxyType({"train": SplitCounts(None, 1_510_330, 1_510_330)})
    homepage = "https://github.com/Shuyu-XJTU/APTM"
    terms = "Research only, no commercial use"
    citation = """@inproceedings{yang2023towards,
  title={Towards Unified Text-based Person Retrieval: A Large-scale Multi-Attribute and Language Search Benchmark},
  author={Yang, Shuyu and Zhou, Yinan and Wang, Yaxiong and Wu, Yujiao and Zhu, Li and Zheng, Zhedong},
  booktitle={ACM International Conference on Multimedia},
  year={2023}
}"""

    def captions(self, row: AnnotationRow) -> tuple[str, ...]:
        """Return the single caption of a row."""
        return (row.caption("caption"),)
