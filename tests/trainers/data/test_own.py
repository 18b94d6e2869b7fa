import sys
from types import ModuleType

import datasets
import pytest

from trainers import TwoStageTrainer
from trainers.data.own import own_splits


@pytest.fixture
def my_data(monkeypatch, splits):
    """A module with a function for each case; it notes what it is called with."""
    module = ModuleType("my_data")
    module.__file__ = "my_data.py"
    module.calls = []

    def load(split, **options):
        module.calls.append((split, options))
        return None if split == "validation" else splits[split]

    module.load = load
    module.fails = lambda split: splits[split]
    module.listed = lambda split, **options: splits[split].to_list()
    module.unnamed = lambda split, **options: splits[split].remove_columns("person_id")
    module.in_words = lambda split, **options: splits[split].cast_column("person_id", datasets.Value("string"))
    module.leaky = lambda split, **options: splits["train"].map(lambda row: {"image_id": split + row["image_id"]})
    module.blank = lambda split, **options: splits[split].map(lambda row: {"captions": [" "]})
    module.empty = lambda split, **options: None
    monkeypatch.setitem(sys.modules, "my_data", module)
    return module


def test_the_function_is_called_for_each_split_with_folder_and_options(my_data, splits):
    found = own_splits("my_data:load", "pictures", {"fold": 3})
    assert found.keys() == {"train", "test"} and found["test"] is splits["test"]
    options = {"data_dir": "pictures", "fold": 3}
    assert my_data.calls == [(split, options) for split in ("train", "validation", "test")]


@pytest.mark.parametrize(
    "name, message",
    [
        ("my_data:nobody", "my_data.py has no function nobody"),
        ("my_data:fails", "fails for split 'train' .TypeError: .*unexpected keyword argument 'fold'.*its signature"),
        ("my_data:listed", "returns a list for split 'train'; its signature must be"),
        ("my_data:unnamed", "split 'train' of dataset 'my_data:unnamed' has no column person_id"),
        ("my_data:leaky", "my_data:leaky, .*person id.s. are in more than one split"),
        ("my_data:blank", "my_data:blank, train.*row 0.*captions"),
        ("my_data:in_words", "column person_id is of type string, but must be a whole number"),
    ],
)
def test_what_is_no_data_set_is_refused_by_name(my_data, name, message):
    with pytest.raises(ValueError, match=message):
        own_splits(name, None, {"fold": 3})


def test_the_trainer_refuses_what_cannot_be_trained_on(my_data, make_args):
    with pytest.raises(ValueError, match="no train split"):
        TwoStageTrainer(make_args(dataset="my_data:empty"))
    with pytest.raises(ValueError, match="streaming is set and dataset is 'my_data:load'"):
        TwoStageTrainer(make_args(dataset="my_data:load", streaming=True))
