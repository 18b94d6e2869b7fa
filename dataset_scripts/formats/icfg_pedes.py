"""ICFG-PEDES, one long sentence for each of some 54,000 images of MSMT17."""

import re
from types import MappingProxyType

from dataset_scripts.annotations.rows import AnnotationRow
from dataset_scripts.formats.base import AnnotationFormat, SplitCounts

__all__ = ["IcfgPedes"]

# MSMT17: person, number of the picture, camera, date and time of day, two numbers.
_MSMT17_NAME = re.compile(r"\d{4}_\d{3}_(?P<camera>\d{2})_\d{4}(?:morning|noon|afternoon)_")


class IcfgPedes(AnnotationFormat):
    """ICFG-PEDES: pedestrians of MSMT17, each image described by one long sentence.

    Layout: `ICFG-PEDES.json`, or one of the two other spellings in use (`ICFG_PEDES.json`, `ICFG-PDES.json`), and
    `imgs/` with the folders train and test. These two are the storage of MSMT17 and **not** the split, which is the
    field `split` (train or test). The annotation is a list of objects as in CUHK-PEDES: `split`, `captions` (a list
    with one sentence), `file_path` (below `imgs/`), `id` (person, from 0) and `processed_tokens`, which is not read.

    There is **no validation split**. `validation_share` takes one from train, whole persons drawn by `split_seed`; by
    default nothing is taken. `camera` is `c1` to `c15`, read from MSMT17's file names; None for any other name.

    Terms: ask the authors (chxding@scut.edu.cn) and keep to what they answer; the images are MSMT17's, whose terms
    hold as well. The data is neither shipped nor downloaded here.
    Source: Ding et al., "Semantically Self-Aligned Network for Text-to-Image Part-aware Person Re-identification",
    2021, https://arxiv.org/abs/2107.12666.
    """

    name = "icfg_pedes"
    title = "ICFG-PEDES"
    annotation_files = ("ICFG-PEDES.json", "ICFG_PEDES.json", "ICFG-PDES.json")
    first_row_fields = ("file_path", "id", "captions")
    published = MappingProxyType(
        {"train": SplitCounts(3_102, 34_674, 34_674), "test": SplitCounts(1_000, 19_848, 19_848)}
    )
    first_person_id = 0
    homepage = "https://github.com/zifyloo/SSAN"
    terms = "On request to the authors; the terms of MSMT17, where the images come from, hold as well"
    citation = """@article{ding2021semantically,
  title={Semantically Self-Aligned Network for Text-to-Image Part-aware Person Re-identification},
  author={Ding, Zefeng and Ding, Changxing and Shao, Zhiyin and Tao, Dacheng},
  journal={arXiv preprint arXiv:2107.12666},
  year={2021}
}"""

    def camera(self, row: AnnotationRow) -> str | None:
        """Return the camera in an MSMT17 file name, `c1` to `c15`, else None."""
        match = _MSMT17_NAME.match(self.image_id(row).rpartition("/")[2])
        return f"c{int(match['camera'])}" if match else None
