"""CUHK-PEDES, the first benchmark of text-to-image person search."""

from types import MappingProxyType

from dataset_scripts.annotations import AnnotationRow, PersonSearchRecord
from dataset_scripts.person_search import PersonSearchBuilder

__all__ = ["CuhkPedes"]

_NOT_THE_ANNOTATION = (
    "caption_all.json, which many copies hold instead, has no 'split' field, so the benchmark's train, validation and "
    "test people cannot be told apart; renaming it does not help. Ask the authors for the complete archive with "
    "reid_raw.json."
)


class CuhkPedes(PersonSearchBuilder):
    """CUHK-PEDES: pedestrians from five person re-identification sets, each image described by two sentences.

    Layout: `reid_raw.json` and `imgs/` with the sub-folders cam_a, cam_b, CUHK01, CUHK03, Market, test_query and
    train_query. The annotation is a list of objects with `split` (train, val or test), `captions` (list of sentences),
    `file_path` (below `imgs/`), `id` (person, from 1) and optionally `processed_tokens`, which is not read.

    | split | persons | images | captions |
    |---|---|---|---|
    | train | 11,003 | 34,054 | 68,126 |
    | validation | 1,000 | 3,078 | 6,158 |
    | test | 1,000 | 3,074 | 6,156 |

    A few images have more than two captions (one has ten), and four persons have one image only. `camera` is the
    sub-folder, the only origin that the set tells: cam_a and cam_b are single cameras, the others whole source sets.

    Terms: for academic use only; ask the authors for the images. This package ships and downloads none of them.
    Source: Li et al., "Person Search with Natural Language Description", CVPR 2017, https://arxiv.org/abs/1702.05729.
    """

    annotation_file = "reid_raw.json"
    image_folder = "imgs"
    known_files = MappingProxyType({"caption_all.json": _NOT_THE_ANNOTATION})
    homepage = "https://github.com/ShuangLI59/Person-Search-with-Natural-Language-Description"
    terms = "Academic use only, on request to the authors"
    citation = """@inproceedings{li2017person,
  title={Person Search with Natural Language Description},
  author={Li, Shuang and Xiao, Tong and Li, Hongsheng and Zhou, Bolei and Yue, Dayu and Wang, Xiaogang},
  booktitle={IEEE Conference on Computer Vision and Pattern Recognition},
  year={2017}
}"""

    def parse_row(self, row: AnnotationRow) -> PersonSearchRecord:
        """Reads one object of `reid_raw.json`. Raises ValueError that names the row and field."""
        splits = {"train": "train", "val": "validation", "test": "test"}
        image_id = row.image_path("file_path")
        folder, slash, _ = image_id.partition("/")
        return PersonSearchRecord(
            row=row.index,
            split=row.choice("split", splits, _NOT_THE_ANNOTATION),
            image_id=image_id,
            person_id=row.person_id("id"),
            captions=row.captions("captions"),
            camera=folder if slash else None,
        )
