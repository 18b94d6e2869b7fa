"""SYNTH-PEDES, 4.8 million images with captions by a model, for pre-training."""

from types import MappingProxyType

from dataset_scripts.formats.base import AnnotationFormat, SplitCounts

__all__ = ["SynthPedes"]


class SynthPedes(AnnotationFormat):
    """SYNTH-PEDES: real pedestrians of LUPerson-NL and LPW, two or three captions an image written by a model.

    Layout: `synthpedes_dataset.json` and the folders Part1 to Part11 beside it. The annotation is a list of objects
    with `id` (person), `file_path` (`Part1/7/1.jpg`) and `captions`; `attributes` and `prompt_caption` (a template
    filled with them) are not read.

    The set has no splits: all is training, unless `validation_share` or `test_share` takes some persons out. It tells
    no cameras.

    Terms: research only, no commercial use. The data is neither shipped nor downloaded here.
    Source: Zuo et al., "PLIP: Language-Image Pre-training for Person Representation Learning", NeurIPS 2024,
    https://arxiv.org/abs/2305.08386.
    """

    name = "synth_pedes"
    title = "SYNTH-PEDES"
    annotation_files = ("synthpedes_dataset.json",)
    image_folder = ""
    first_row_fields = ("file_path", "id", "captions")
    split_field = None
    published = MappingProxyType({"train": SplitCounts(312_321, 4_791_711, 12_138_157)})
    homepage = "https://github.com/Zplusdragon/PLIP"
    terms = "Research only, no commercial use"
    citation = """@inproceedings{zuo2024plip,
  title={{PLIP}: Language-Image Pre-training for Person Representation Learning},
  author={Zuo, Jialong and Hong, Jiahao and Zhang, Feng and Yu, Changqian and Zhou, Hanyu and Gao, Changxin and
          Sang, Nong and Wang, Jingdong},
  booktitle={Advances in Neural Information Processing Systems},
  year={2024}
}"""
