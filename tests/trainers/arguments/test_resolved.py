import os

import pytest

from dataset_scripts import load_person_search
from modeling_prompt_clip.loading import STAND_IN, load_model
from trainers.arguments.resolved import (
    UNNAMED_DATA,
    UNNAMED_MODEL,
    is_private_base,
    names_local_folder,
    resolve_settings,
)


def test_a_model_and_data_from_python_are_named(make_args, splits, tiny_clip_folder):
    args = make_args(base_model=None)
    model = load_model(tiny_clip_folder)[0]
    named = resolve_settings(args, model, splits)
    assert (named.base_model, named.dataset) == (str(tiny_clip_folder), UNNAMED_DATA)
    model.name_or_path = ""
    assert resolve_settings(args, model, None).base_model == UNNAMED_MODEL
    assert args.dataset == "synthetic_pedes"  # the caller's own settings stay


@pytest.mark.parametrize(
    "settings", [{"base_model": "alice/clip"}, {"base_model": STAND_IN}, {"dataset": "cuhk_pedes", "data_dir": "here"}]
)
def test_what_the_caller_named_stays(make_args, splits, tiny_clip_folder, settings):
    named = resolve_settings(make_args(**settings), load_model(tiny_clip_folder)[0], splits)
    assert all(getattr(named, name) == value for name, value in settings.items())


def test_no_base_model_is_taken_silently(make_args):
    with pytest.raises(ValueError, match="base_model is not set; name a CLIP: a folder, a Hub id .* or 'stand-in'"):
        resolve_settings(make_args(base_model=None), None, None)


def test_the_default_set_itself_is_not_renamed(make_args, tmp_path):
    persons = {"train_identities": 2, "validation_identities": 1, "test_identities": 1}
    args = make_args()
    assert resolve_settings(args, None, load_person_search("synthetic_pedes", tmp_path, None, **persons)) is args
    assert resolve_settings(args, None, None) is args


def test_folders_are_known_as_such_from_anywhere(make_args, tmp_path, monkeypatch):
    for folder in ("models/clip", "data/cuhk", "data/more"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    joined = ["data/more", "rstp_reid=data/more", "alice/set", "rstp_reid=gone"]
    args = make_args(base_model="models/clip", dataset="data/cuhk", also_train_on=joined)
    named = resolve_settings(args, None, None)
    monkeypatch.chdir(os.sep)
    assert (named.base_model, named.dataset) == (str(tmp_path / "models/clip"), str(tmp_path / "data/cuhk"))
    more = str(tmp_path / "data/more")
    assert named.also_train_on == [more, f"rstp_reid={more}", "alice/set", "rstp_reid=gone"]
    assert resolve_settings(named, None, None) is named


def test_a_folder_that_is_called_like_a_set_changes_nothing(make_args, tmp_path, monkeypatch):
    for name in ("cuhk_pedes", "rstp_reid", STAND_IN):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    args = make_args(base_model=STAND_IN, dataset="cuhk_pedes", data_dir="cuhk_pedes", also_train_on=["rstp_reid"])
    assert resolve_settings(args, None, None) is args
    assert not is_private_base(STAND_IN) and not names_local_folder("cuhk_pedes")


def test_places_and_names():
    assert all(names_local_folder(name) for name in ("/gone/clip", "./clip", "~/clip", "../clip"))
    assert not any(names_local_folder(name) for name in ("openai/clip-vit-base-patch16", STAND_IN, "cuhk_pedes"))
    assert is_private_base(UNNAMED_MODEL) and is_private_base("/gone") and not is_private_base("alice/clip")
