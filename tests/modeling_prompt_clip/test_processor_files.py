"""Files of tokenizers and processors: absent is absent, damaged is an error, and none of them runs code."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoProcessor

from dataset_scripts.commands import check
from modeling_prompt_clip import PromptCLIPConfig, PromptCLIPProcessor
from modeling_prompt_clip.loading import load_model
from modeling_prompt_clip.processor_files import load_tokenizer, read_image_settings, read_json_file

REMOTE_TOKENIZER = {
    "a pair": ["tok.Evil", None],
    "a pair with a fast one": [None, "tok.Evil"],
    "an object": {"AutoTokenizer": ["tok.Evil", "tok.Evil"]},
    "another repository": {"AutoTokenizer": ["eve/code--tok.Evil", None]},
}


def change_json(path: Path, **changes: object) -> None:
    settings = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**settings, **changes}))


@pytest.fixture
def folder(tiny_clip_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_clip_folder, tmp_path / "clip")


@pytest.fixture
def saved(tiny_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_folder, tmp_path / "prompt_clip")


@pytest.fixture
def bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Puts code into a folder that leaves a mark where it runs; a question on stdin is an error."""
    mark = tmp_path / "ran"

    def plant(folder: Path) -> Path:
        for name in ("tok", "img"):
            text = (
                f"open({str(mark)!r}, 'w')\nfrom transformers import CLIPTokenizer\nclass Evil(CLIPTokenizer): pass\n"
            )
            (folder / f"{name}.py").write_text(text)
        return mark

    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    return plant


@pytest.mark.parametrize("auto_map", REMOTE_TOKENIZER.values(), ids=REMOTE_TOKENIZER)
@pytest.mark.parametrize("trust", [False, True])
def test_code_of_a_tokenizer_is_not_run(folder: Path, bomb, auto_map: object, trust: bool):
    mark = bomb(folder)
    change_json(folder / "tokenizer_config.json", auto_map=auto_map, tokenizer_class="Evil")
    config = PromptCLIPConfig.from_pretrained(folder)
    try:
        tokenizer = load_tokenizer(folder, config, trust_remote_code=trust)
    except OSError as error:
        assert "code of its own is not run" in str(error)
    else:
        assert type(tokenizer).__module__.startswith("transformers.")
        tokenizer.save_pretrained(folder / "again")
        assert "auto_map" not in json.loads((folder / "again" / "tokenizer_config.json").read_text())
    assert not mark.exists()


@pytest.mark.parametrize(
    "load",
    [
        load_model,
        PromptCLIPProcessor.from_pretrained,
        AutoProcessor.from_pretrained,
        lambda folder: PromptCLIPProcessor.from_pretrained(folder, trust_remote_code=True),
        lambda folder: AutoProcessor.from_pretrained(folder, trust_remote_code=True),
        lambda folder: PromptCLIPProcessor.from_clip(folder, trust_remote_code=True),
    ],
)
def test_no_route_runs_code_of_a_processor(saved: Path, bomb, load: Callable):
    mark = bomb(saved)
    change_json(saved / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tok.Evil", "tok.Evil"]})
    change_json(saved / "preprocessor_config.json", auto_map={"AutoImageProcessor": "img.Evil"})
    settings = json.loads((saved / "processor_config.json").read_text())
    settings["image_processor"]["auto_map"] = {"AutoImageProcessor": "img.Evil"}
    change_json(saved / "processor_config.json", **settings, auto_map={"AutoProcessor": "img.Evil"})
    load(saved)
    assert not mark.exists()


def test_data_check_runs_no_code_of_a_tokenizer(folder: Path, bomb):
    mark = bomb(folder)
    change_json(folder / "tokenizer_config.json", auto_map=["tok.Evil", None], tokenizer_class="Evil")
    (folder / "config.json").unlink()
    with pytest.raises(OSError, match="code of their own are not loaded"):
        check._load_tokenizer(str(folder))
    assert not mark.exists()


# absent and damaged


DAMAGED = {"empty": "", "cut": '{"image_mean": [0.4', "a list": "[1, 2]", "a number": "3", "not text": "\x00"}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize(
    "file", ["preprocessor_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"]
)
def test_damaged_files_are_named(folder: Path, file: str, content: str):
    (folder / file).write_text(content)
    with pytest.raises(OSError, match=rf"{file} of '.*clip' is damaged: it .*; copy or download it again"):
        PromptCLIPProcessor.from_clip(folder)


def test_a_saved_processor_that_is_damaged(saved: Path):
    (saved / "processor_config.json").write_text('{"image_processor": {"image_mean": null}}')
    for load in (PromptCLIPProcessor.from_clip, PromptCLIPProcessor.from_pretrained):
        with pytest.raises(
            OSError, match=r"processor_config.json of .* is damaged: image_mean is None and must be three"
        ):
            load(saved)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"image_mean": None}, "image_mean is None and must be three numbers"),
        ({"image_mean": 0.5}, "image_mean is 0.5"),
        ({"image_mean": ["a", "b", "c"]}, "image_mean is"),
        ({"image_std": [0.2, 0.2]}, "image_std is"),
        ({"image_std": [0.2, 0, 0.2]}, "three numbers above 0"),
        ({"image_std": [0.2, float("nan"), 0.2]}, "three numbers above 0"),
        ({"do_normalize": "yes"}, "do_normalize is 'yes' and must be true or false"),
        ({"do_resize": 1}, "do_resize is 1"),
        ({"resample": "bicubic"}, "resample is 'bicubic' and must be an integer"),
        ({"resample": 17}, "resample is 17"),
        ({"rescale_factor": None}, "rescale_factor is None and must be a number above 0"),
        ({"rescale_factor": [1]}, r"rescale_factor is \[1\]"),
        ({"size": "large"}, "size is 'large'"),
        ({"size": {"height": -1, "width": 32}}, "one or two positive integers"),
    ],
)
def test_settings_of_a_wrong_kind(folder: Path, settings: dict, told: str):
    change_json(folder / "preprocessor_config.json", **settings)
    with pytest.raises(OSError, match=rf"preprocessor_config.json of .* is damaged: .*{told}"):
        read_image_settings(folder)


def test_settings_that_are_left_out_or_not_used(folder: Path):
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false, "image_mean": null, "do_resize": null}')
    assert read_image_settings(folder)["image_mean"] is None
    (folder / "preprocessor_config.json").write_text("{}")
    with pytest.raises(OSError, match="settings of images are {}"):
        read_image_settings(folder)
    (folder / "preprocessor_config.json").unlink()
    assert read_image_settings(folder) is None
    assert PromptCLIPProcessor.from_clip(folder).image_processor.image_mean[0] == pytest.approx(0.48145466)


def test_a_file_that_the_hub_lacks_and_one_that_it_does_not_give(hub, monkeypatch: pytest.MonkeyPatch, folder: Path):
    from huggingface_hub import HfApi, constants

    HfApi().create_repo("alice/clip", private=False)
    HfApi().upload_folder(repo_id="alice/clip", folder_path=folder, allow_patterns=["config.json"])
    assert read_json_file("alice/clip", "preprocessor_config.json") is None
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert read_json_file("alice/clip", "preprocessor_config.json") is None  # known to be absent
    with pytest.raises(OSError, match=r"processor_config.json of 'alice/clip' could not be fetched from the Hub"):
        read_json_file("alice/clip", "processor_config.json")


# context


@pytest.mark.parametrize("positions", [20, 120])
@pytest.mark.parametrize("route", ["from_clip", "saved", "auto"])
def test_captions_are_cut_at_the_models_positions(folder: Path, positions: int, route: str, caplog):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = positions
    (folder / "config.json").write_text(json.dumps(config))
    if route == "from_clip":
        processor = PromptCLIPProcessor.from_clip(folder)
        assert f"cuts captions at 77 tokens; the model takes {positions}" in caplog.text
    else:
        PromptCLIPProcessor.from_clip(folder).save_pretrained(folder)
        change_json(folder / "tokenizer_config.json", model_max_length=77)
        PromptCLIPConfig.from_pretrained(folder).save_pretrained(folder)
        load = AutoProcessor if route == "auto" else PromptCLIPProcessor
        processor = load.from_pretrained(folder)
    input_ids = processor(text="red " * 200)["input_ids"]
    assert input_ids.shape[1] == positions and input_ids[0, -1] == processor.tokenizer.eos_token_id
