"""UFine6926, captions of eighty words."""

from dataset_scripts.formats.base import AnnotationFormat, SplitCounts

__all__ = ["UFine6926"]


class UFine6926(AnnotationFormat):
    """UFine6926: 6,926 persons, each image described by two captions of 80.8 words on average.

    Layout: an annotation whose name starts with UFine6926 (`UFine6926_Annotations.json` in users' code; the authors
    print no name) and `images/`. The annotation is a list of objects as in CUHK-PEDES: `split`, `id` (person, from 1),
    `file_path` (`images/1.jpg`, so below the data folder itself) and `captions` (two).

    The authors' page prints no counts of the splits. CLIP reads 77 tokens, fewer than most of these captions have: the
    rest is cut off, so scores on this set are not those of its authors' longer contexts. The set tells no cameras.

    Terms: a licence (`UFineBench_License.pdf` on the page below) is signed, by a student's supervisor, and sent to the
    authors. The data is neither shipped nor downloaded here.
    Source: Zuo et al., "UFineBench: Towards Text-based Person Retrieval with Ultra-fine Granularity", CVPR 2024,
    https://arxiv.org/abs/2312.03441.
    """

    name = "ufine6926"
    title = "UFine6926"
    annotation_files = ("UFine6926_Annotations.json", "UFine6926*.json")
    image_folder = ""
    first_row_fields = ("file_path", "id", "captions")
    published_total = SplitCounts(6_926, 26_206, 52_412)
    first_person_id = 1
    homepage = "https://github.com/Zplusdragon/UFineBench"
    terms = "Signed licence, sent to the authors"
    citation = """@inproceedings{zuo2024ufinebench,
  title={UFineBench: Towards Text-based Person Retrieval with Ultra-fine Granularity},
  author={Zuo, Jialong and Zhou, Hanyu and Nie, Ying and Zhang, Feng and Guo, Tianyu and Sang, Nong and Wang, Yunhe
          and Gao, Changxin},
  booktitle={IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages={22010--22019},
  year={2024}
}"""
