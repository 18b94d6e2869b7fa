"""RSTPReid, five images of each person by five cameras."""

import re
from types import MappingProxyType

from dataset_scripts.annotations.rows import AnnotationRow
from dataset_scripts.formats.base import AnnotationFormat, SplitCounts

__all__ = ["RstpReid"]

_NAME = re.compile(r"\d+_(?P<camera>c\d+)_\d+\.")


class RstpReid(AnnotationFormat):
    """RSTPReid: 4,101 persons of MSMT17, five images each by different cameras, two sentences an image.

    Layout: `data_captions.json` and `imgs/`. The annotation is a list of objects with `id` (person, from 0),
    **`img_path`** (below `imgs/`, such as `0000_c14_0031.jpg`), `captions` (two sentences) and `split` (train, val or
    test). Many captions lack the space after a full stop ("shirt.His"); it is put in where captions are cleaned.
    CLIP's tokenizer gives the same tokens either way.

    The authors print persons and totals; images and captions of a split follow from five and two. `camera` is `c1` to
    `c15`, read from the file name.

    Terms: the authors' page links the archive and names no terms; the images are MSMT17's, whose terms hold. This
    package ships and downloads none of them.
    Source: Zhu et al., "DSSL: Deep Surroundings-person Separation Learning for Text-based Person Retrieval", ACM
    Multimedia 2021, https://arxiv.org/abs/2109.05534.
    """

    name = "rstp_reid"
    title = "RSTPReid"
    annotation_files = ("data_captions.json",)
    first_row_fields = ("img_path", "id", "captions")
    image_field = "img_path"
    published = MappingProxyType(
        {
            "train": SplitCounts(3_701, 18_505, 37_010),
            "validation": SplitCounts(200, 1_000, 2_000),
            "test": SplitCounts(200, 1_000, 2_000),
        }
    )
    first_person_id = 0
    homepage = "https://github.com/NjtechCVLab/RSTPReid-Dataset"
    terms = "None named by the authors; the terms of MSMT17, where the images come from, hold"
    citation = """@inproceedings{zhu2021dssl,
  title={{DSSL}: Deep Surroundings-person Separation Learning for Text-based Person Retrieval},
  author={Zhu, Aichun and Wang, Zijie and Li, Yifeng and Wan, Xili and Jin, Jing and Wang, Tian and Hu, Fangqiang
          and Hua, Gang},
  booktitle={ACM International Conference on Multimedia},
  pages={209--217},
  year={2021}
}"""

    def camera(self, row: AnnotationRow) -> str | None:
        """Return the camera in the file name, `c1` to `c15`, else None."""
        match = _NAME.match(self.image_id(row).rpartition("/")[2])
        return match["camera"] if match else None
