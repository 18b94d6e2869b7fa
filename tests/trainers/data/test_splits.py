import json
import logging
import re
import shutil

import datasets
import pytest

from dataset_scripts import load_person_search
from dataset_scripts.common.images import ImageError
from dataset_scripts.parquet import convert_to_parquet
from person_search_folders import make_folder
from trainers import TwoStageTrainer
from trainers.data.splits import load_splits, prepare_splits, resolve_source


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def people(tmp_path):
    """A user's own set with all splits: 8 training images of persons 0 to 3."""
    return make_folder("custom", tmp_path / "people")


@pytest.fixture
def cuhk(tmp_path):
    """7 training images of persons 1 to 4."""
    return make_folder("cuhk_pedes", tmp_path / "CUHK-PEDES")


@pytest.fixture
def leaking(people, cuhk):
    """CUHK-PEDES with a test image of the user's set in the place of an image of person 2, who has two."""
    test = load_person_search("custom", people, "test")
    shutil.copy(people / test[0]["image_id"], cuhk / "imgs/CUHK01/p2_s2.jpg")
    return cuhk


def joint_args(make_args, people, cuhk, **settings):
    return make_args(dataset="custom", data_dir=str(people), also_train_on=[f"cuhk_pedes={cuhk}"], **settings)


def test_a_folder_alone_is_found_out_about(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_source(str(people)) == ("auto", str(people))
    assert resolve_source("custom", "D") == ("custom", "D")
    assert resolve_source("me/people") == ("me/people", None)
    assert resolve_source("./nowhere") == ("auto", "./nowhere")
    (tmp_path / "custom").mkdir()
    assert resolve_source("custom") == ("custom", None)  # a folder that happens to have a set's name


def test_training_sets_are_joined_and_evaluation_stays(make_args, people, cuhk):
    run = prepare_splits(joint_args(make_args, people, cuhk))
    alone = load_person_search("custom", people, None)
    train = run.splits["train"]
    assert run.joined == ["people", "cuhk_pedes"]
    assert len(train) == 8 + 7
    assert len(set(train["person_id"])) == 4 + 4
    assert train[0]["image_id"] == f"people/{alone['train'][0]['image_id']}"
    assert {image_id.split("/")[0] for image_id in train["image_id"]} == {"people", "cuhk_pedes"}
    for name in ("validation", "test"):
        assert run.splits[name]["image_id"][:] == alone[name]["image_id"][:]
    assert (run.dropped, run.skipped) == (0, [])
    assert run.notes()[0] == "The training split joins those of `people`, `cuhk_pedes`."
    assert run.notes()[1].startswith("No training image was found")


def test_sets_of_one_name_are_told_apart(make_args, people, tmp_path):
    others = [make_folder("custom_csv", tmp_path / place / "people") for place in ("a", "b")]
    args = make_args(dataset=str(people), also_train_on=[str(others[0]), f"custom={others[1]}"], on_leak="allow")
    run = prepare_splits(args)
    assert run.joined == ["people", "people-2", "people-3"]
    assert len(set(run.splits["train"]["person_id"])) == 12


def test_one_set_is_not_compared_with_itself(make_args, people, monkeypatch):
    monkeypatch.setattr("trainers.data.splits.find_leaks", lambda *args: pytest.fail("compared"))
    run = prepare_splits(make_args(dataset="custom", data_dir=str(people)))
    assert (run.leaks, run.notes()) == (None, [])


def test_a_leak_is_refused(make_args, people, leaking):
    with pytest.raises(ValueError, match=r"split, 1 are among .* first cuhk_pedes/.*p2_s2.jpg; set on_leak to 'drop'"):
        prepare_splits(joint_args(make_args, people, leaking))


def test_persons_who_leak_are_dropped(make_args, people, leaking, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run = prepare_splits(joint_args(make_args, people, leaking, on_leak="drop"))
    train = run.splits["train"]
    assert (len(train), run.dropped) == (15 - 2, 2)
    assert not any("cuhk_pedes/" in image_id and "/p2_" in image_id for image_id in train["image_id"])
    assert "all 2 images of those persons are left out" in caplog.text
    assert "all 2 images of their persons were left out" in run.notes()[-1]
    run.write(tmp_path)
    (leak,) = json.loads((tmp_path / "leaks.json").read_text())["leaks"]
    assert leak["train_image_id"].endswith("p2_s2.jpg")
    assert not (tmp_path / "skipped_images.json").exists()


def test_a_leak_that_is_allowed_stands_in_the_card(make_args, people, leaking, caplog):
    trainer = TwoStageTrainer(joint_args(make_args, people, leaking, on_leak="allow"))
    assert "the results will be too good" in caplog.text
    trainer.train()
    assert len(trainer.data.splits["train"]) == 15
    card = (trainer.run.path / "README.md").read_text()
    assert "- Of 15 training images, 1 were found among the validation and test images, **and were trained on" in card
    assert (trainer.run.path / "leaks.json").exists()


def test_bad_images_stop_the_run_or_are_listed(make_args, people, cuhk, tmp_path, caplog):
    (people / "images" / "1_0.jpg").write_bytes(b"no picture")
    bad = cuhk / "imgs" / "CUHK01" / "p2_s2.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(OSError, match="1_0.jpg"):
        prepare_splits(joint_args(make_args, people, cuhk))
    run = prepare_splits(joint_args(make_args, people, cuhk, on_bad_image="skip"))
    assert "2 images cannot be used and are left out" in caplog.text
    assert len(run.splits["train"]) == 13
    run.write(tmp_path)
    skipped = json.loads((tmp_path / "skipped_images.json").read_text())
    assert [(image["dataset"], image["image_id"]) for image in skipped] == [
        ("people", "images/1_0.jpg"),
        ("cuhk_pedes", "CUHK01/p2_s2.jpg"),
    ]
    assert (
        "Images that could not be used were left out: 2 of train (`skipped_images.json` in the run's folder)."
        in run.notes()
    )


def test_captions_are_cleaned_unless_told_otherwise(make_args, tmp_path):
    folder = make_folder("rstp_reid", tmp_path / "RSTPReid")
    for settings, text in (({}, "coat. It"), ({"clean_captions": False}, "coat.It"), ({}, "coat. It")):
        train = load_splits(make_args(dataset="rstp_reid", data_dir=str(folder), **settings))["train"]
        assert text in re.sub("backpack|umbrella", "coat", train[0]["captions"][0])


def test_settings_of_folders_do_not_reach_other_sets(make_args, tmp_path):
    options = {"train_identities": 2, "validation_identities": 1, "test_identities": 1}
    args = make_args(dataset_options=options, clean_captions=False, on_bad_image="skip")
    run = prepare_splits(args)
    assert set(run.splits["train"]["person_id"]) == {0, 1}


def test_only_the_training_split_is_streamed(make_args, people, tmp_path):
    convert_to_parquet(load_person_search("custom", people, None), tmp_path / "shards", source="custom")
    splits = load_splits(make_args(dataset=str(tmp_path / "shards"), streaming=True))
    assert isinstance(splits["train"], datasets.IterableDataset)
    assert all(isinstance(splits[name], datasets.Dataset) for name in ("validation", "test"))
    alone = load_person_search("custom", people, None)
    assert [row["image_id"] for row in splits["train"]] == alone["train"]["image_id"][:]
    assert splits["test"]["image_id"][:] == alone["test"]["image_id"][:]


def test_what_cannot_be_streamed_says_so(make_args, people, cuhk, splits):
    with pytest.raises(ValueError, match="custom cannot be streamed.*prompt-clip data convert"):
        prepare_splits(make_args(dataset="custom", data_dir=str(people), streaming=True))
    stream = {"train": splits["train"].to_iterable_dataset()}
    with pytest.raises(ValueError, match="a stream, which cannot be joined"):
        prepare_splits(joint_args(make_args, people, cuhk), stream)


def test_a_set_without_training_rows_is_refused(make_args, splits):
    with pytest.raises(ValueError, match="no train split, only .'test'."):
        prepare_splits(make_args(), {"test": splits["test"]})


@pytest.mark.parametrize("streaming", [False, True])
def test_no_address_in_a_callers_own_splits_is_asked(make_args, streaming):
    row = {"image": {"bytes": None, "path": "http://127.0.0.1:9/a.png"}, "image_id": "a", "person_id": 0}
    features = datasets.Features(
        image=datasets.Image(), image_id=datasets.Value("string"), person_id=datasets.Value("int64")
    )
    rows = datasets.Dataset.from_list([row], features=features)
    splits = {"train": rows.to_iterable_dataset() if streaming else rows}
    with pytest.raises(ImageError, match="is missing"):
        next(iter(prepare_splits(make_args(), splits).splits["train"]))
