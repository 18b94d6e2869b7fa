import pytest

from dataset_scripts import load_person_search
from modeling_prompt_clip.loading import STAND_IN, load_model
from trainers.given import GIVEN, name_what_was_given


def test_defaults_that_were_never_read_are_replaced(make_args, splits, tiny_clip_folder):
    args = make_args(base_model=STAND_IN)
    model = load_model(tiny_clip_folder)[0]
    named = name_what_was_given(args, model, splits)
    assert (named.base_model, named.dataset) == (str(tiny_clip_folder), GIVEN)
    model.name_or_path = ""
    assert name_what_was_given(args, model, None).base_model == GIVEN
    assert args.dataset == "synthetic_pedes"  # the caller's own settings stay


@pytest.mark.parametrize(
    "settings", [{"base_model": "alice/clip"}, {"dataset": "cuhk_pedes", "data_dir": "somewhere"}]
)
def test_what_the_caller_named_stays(make_args, splits, tiny_clip_folder, settings):
    named = name_what_was_given(make_args(**settings), load_model(tiny_clip_folder)[0], splits)
    assert all(getattr(named, name) == value for name, value in settings.items())


def test_the_default_set_itself_is_not_renamed(make_args, tmp_path):
    persons = {"train_identities": 2, "validation_identities": 1, "test_identities": 1}
    args = make_args()
    assert name_what_was_given(args, None, load_person_search("synthetic_pedes", tmp_path, None, **persons)) is args
    assert name_what_was_given(args, None, None) is args
