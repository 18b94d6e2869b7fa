"""CUHK-PEDES, the first benchmark of text-to-image person search."""

from types import MappingProxyType

from dataset_scripts.annotations.rows import AnnotationRow
from dataset_scripts.formats.base import AnnotationFormat, SplitCounts

__all__ = ["CuhkPedes"]

_NOT_THE_ANNOTATION = (
    "caption_all.json, which many copies hold instead, has no 'split' field, so the benchmark's train, validation and "
    "test people cannot be told apart; renaming it does not help. Ask the authors for the complete archive with "
    "reid_raw.json."
)


class CuhkPedes(AnnotationFormat):
    """CUHK-PEDES: pedestrians from five person re-identification sets, each image described by two sentences.

    Layout: `reid_raw.json` and `imgs/` with the sub-folders cam_a, cam_b, CUHK01, CUHK03, Market, test_query and
    train_query. The annotation is a list of objects with `split` (train, val or test), `captions` (list of sentences),
    `file_path` (below `imgs/`), `id` (person, from 1) and optionally `processed_tokens`, which is not read.

    A few images have more than two captions (one has ten), and four persons have one image only. `camera` is the
    sub-folder, the only origin that the set tells: cam_a and cam_b are single cameras, the others whole source sets.

    Terms: for academic use only; ask the authors for the images. The data is neither shipped nor downloaded here.
    Source: Li et al., "Person Search with Natural Language Description", CVPR 2017, https://arxiv.org/abs/1702.05729.
    """

    name = "cuhk_pedes"
    title = "CUHK-PEDES"
    annotation_files = ("reid_raw.json",)
    known_files = MappingProxyType({"caption_all.json": _NOT_THE_ANNOTATION})
    first_row_fields = ("file_path", "id", "captions")
    published = MappingProxyType(
        {
            "train": SplitCounts(11_003, 34_054, 68_126),
            "validation": SplitCounts(1_000, 3_078, 6_158),
            "test": SplitCounts(1_000, 3_074, 6_156),
        }
    )
    first_person_id = 1
    homepage = "https://github.com/ShuangLI59/Person-Search-with-Natural-Language-Description"
    terms = "Academic use only, on request to the authors"
    citation = """@inproceedings{li2017person,
  title={Person Search with Natural Language Description},
  author={Li, Shuang and Xiao, Tong and Li, Hongsheng and Zhou, Bolei and Yue, Dayu and Wang, Xiaogang},
  booktitle={IEEE Conference on Computer Vision and Pattern Recognition},
  year={2017}
}"""

    def camera(self, row: AnnotationRow) -> str | None:
        """Return the subfolder of the image."""
        folder, slash, _ = self.image_id(row).partition("/")
        return folder if slash else None
