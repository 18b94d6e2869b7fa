"""Person-search sets as Parquet folders or Hub repositories, images inside.

>>> convert_to_parquet(load_person_search("cuhk_pedes", "CUHK-PEDES", split=None), "cuhk", source="cuhk_pedes")
>>> load_parquet("cuhk", "train", streaming=True)
>>> push_dataset("cuhk", "my-lab/cuhk-private")
"""

from dataset_scripts.parquet.convert import convert_to_parquet
from dataset_scripts.parquet.from_hub import load_from_hub
from dataset_scripts.parquet.load import is_parquet_folder, load_parquet
from dataset_scripts.parquet.push import push_dataset

__all__ = [
    "convert_to_parquet",
    "is_parquet_folder",
    "load_from_hub",
    "load_parquet",
    "push_dataset",
]
