"""What a card says of the data: the declared terms where the set is known, and that they are not known elsewhere."""

import json

import pytest

from dataset_scripts.formats import FORMATS, get_format
from trainers.publishing.card_sources import all_sources, base_source, data_sources, is_drawn, public_value


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "custom"])
def test_known_sets_have_the_terms_that_their_format_declares(make_args, name):
    (source,) = data_sources(make_args(dataset=name, data_dir="somewhere"))
    declared = get_format(name)
    assert source.name == declared.title and source.terms.startswith(f"Terms: {declared.terms}. ")
    assert (source.homepage, source.citation) == (declared.homepage, declared.citation)
    assert source.homepage and source.citation


def test_drawn_pictures_are_free(make_args):
    (source,) = data_sources(make_args())
    assert source.name == "synthetic_pedes" and "Apache-2.0" in source.terms and "show nobody" in source.terms
    assert is_drawn(make_args(base_model="stand-in")) and not is_drawn(make_args())
    assert not is_drawn(make_args(base_model="stand-in", also_train_on=["rstp_reid=R"]))
    earlier = make_args(base_model="stand-in", stages=["two"], adapter="elsewhere/adapter")  # who knows of what?
    assert not is_drawn(earlier) and "does not know" in all_sources(earlier)[-1].terms
    assert [source.name for source in all_sources(make_args())] == ["synthetic_pedes", "Base model tiny_clip"]
    assert "Apache-2.0" in base_source("stand-in").terms


def test_a_folder_is_known_by_what_is_in_it(make_args, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (unknown,) = data_sources(make_args(dataset=str(folder)))
    assert unknown.name == "data" and "does not know" in unknown.terms
    rows = [{"split": "train", "captions": ["a"], "img_path": "1.jpg", "id": 0}]
    (folder / "data_captions.json").write_text(json.dumps(rows))
    (folder / "imgs").mkdir()
    (known,) = data_sources(make_args(dataset=str(folder)))
    assert known.name == "RSTPReid" and known.homepage
    (gone,) = data_sources(make_args(dataset=str(tmp_path / "gone")))
    assert gone.name == "gone" and "does not know" in gone.terms
    (own,) = data_sources(make_args(dataset="custom", data_dir=str(folder)))
    assert own.name == "data" and "does not know" in own.terms


def test_parquet_is_what_it_was_made_of(make_args, tmp_path):
    manifest = {
        "format_version": 1,
        "source": {"name": "cuhk_pedes"},
        "settings": {"image_size": None, "quality": None, "rows_per_shard": 1, "pyarrow": "25", "pillow": None},
        "splits": {},
        "shards": {},
        "complete": True,
    }
    (tmp_path / "conversion.json").write_text(json.dumps(manifest))
    for settings in ({"dataset": "parquet", "data_dir": str(tmp_path)}, {"dataset": str(tmp_path)}):
        (source,) = data_sources(make_args(**settings))
        assert source.name == "CUHK-PEDES" and "cademic use" in source.terms
    (tmp_path / "conversion.json").write_text("{}")
    (source,) = data_sources(make_args(dataset=str(tmp_path)))
    assert source.name == tmp_path.name and "does not know" in source.terms


def test_the_hub_and_joined_sets(make_args):
    own, joined = data_sources(make_args(dataset="alice/set", also_train_on=["icfg_pedes=ICFG-PEDES"]))
    assert (own.name, own.homepage) == ("alice/set", "https://huggingface.co/datasets/alice/set")
    assert joined.name == "ICFG-PEDES"


def test_base_models(tiny_clip_folder):
    assert base_source("openai/clip-vit-base-patch16").homepage.endswith("co/openai/clip-vit-base-patch16")
    source = base_source(str(tiny_clip_folder))
    assert source.name == "Base model tiny_clip" and "does not know" in source.terms and not source.homepage
    assert public_value("stand-in") == "stand-in" and public_value(str(tiny_clip_folder)) == "tiny_clip"
