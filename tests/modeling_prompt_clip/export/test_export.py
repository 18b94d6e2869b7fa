import copy
import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from peft import get_peft_model
from PIL import ExifTags, Image
from tokenizers import Tokenizer
from transformers import CLIPModel

from dataset_scripts.common import files
from elsewhere import OURS, run_elsewhere
from modeling_prompt_clip import ClipPromptConfig, PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.export import check, export_onnx, onnx_folder, towers
from modeling_prompt_clip.loading import load_model
from modeling_prompt_clip.retrieval.search import FolderSearcher

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "search_with_onnxruntime.py"
SENTENCES = ["a man in red", "a woman in a long blue coat " * 12]  # the second is longer than any context


@pytest.fixture(scope="module")
def adapter(tiny_adapter_folder):
    """The tiny CLIP at 96x32 with strong prompts merged into it, and its processor."""
    return load_model(tiny_adapter_folder)


@pytest.fixture(scope="module")
def exported(adapter, tmp_path_factory):
    return export_onnx(*adapter, tmp_path_factory.mktemp("export") / "made" / "on the way")


@pytest.fixture(scope="module")
def sessions(exported):
    return {name: onnxruntime.InferenceSession(exported.folder / f"{name}.onnx") for name in ("text", "image")}


@pytest.fixture
def photos(tmp_path):
    """Drawn pictures of several sizes and modes, one of them lying on its side, in a folder with a subfolder."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for row, name in enumerate(("d.png", "a.png", "more/c.JPG", "b.bmp", "more/e.tif")):
        pixels = draw.integers(0, 256, (9 + row, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40 + 9 * row, 120 - 7 * row)).save(folder / name)
    Image.new("L", (20, 60), 90).save(folder / "f.png")
    lying = Image.linear_gradient("L").resize((120, 40))
    exif = lying.getexif()
    exif[ExifTags.Base.Orientation] = 6
    lying.save(folder / "g.jpg", exif=exif)
    return folder


def captions(processor, count, tokens):
    """`(count, tokens)`: words of one letter, the first caption filling the row and the others shorter."""
    texts = [" ".join("abcdefg"[(row + place) % 7] for place in range(tokens - 2)) for row in range(count)]
    texts[1:] = [text[: len(text) // 2] for text in texts[1:]]
    input_ids = processor(text=texts)["input_ids"]
    assert input_ids.shape == (count, tokens)
    return input_ids


def text_distance(session, model, input_ids):
    with torch.no_grad():
        expected = model(input_ids=input_ids).text_embeds.numpy()
    (found,) = session.run(None, {"input_ids": input_ids.numpy()})
    assert found.dtype == np.float32
    return abs(found - expected).max()


def image_distance(session, model, count):
    shape = (count, 3, *model.config.vision_config.image_height_width)
    pixel_values = torch.randn(shape, generator=torch.Generator().manual_seed(count))
    with torch.no_grad():
        expected = model(pixel_values=pixel_values).image_embeds.numpy()
    (found,) = session.run(None, {"pixel_values": pixel_values.numpy()})
    assert found.dtype == np.float32
    return abs(found - expected).max()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("tokens", [2, 3, 7, 8, 30, 76, 77])
def test_captions_of_any_number_and_length(adapter, sessions, count, tokens):
    model, processor = adapter
    assert text_distance(sessions["text"], model, captions(processor, count, tokens)) < 1e-6


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_images_of_any_number(adapter, sessions, count):
    assert image_distance(sessions["image"], adapter[0], count) < 1e-6


def test_embeddings_are_unit_vectors_that_prompts_have_changed(adapter, sessions, tiny_folder):
    input_ids = adapter[1](text=SENTENCES)["input_ids"]
    (found,) = sessions["text"].run(["text_embeds"], {"input_ids": input_ids.numpy()})
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert text_distance(sessions["text"], load_model(tiny_folder)[0], input_ids) > 0.01


def test_more_padding_changes_nothing(adapter, sessions):
    input_ids = adapter[1](text=SENTENCES[:1])["input_ids"].numpy()
    padded = np.pad(input_ids, ((0, 0), (0, 20)), constant_values=adapter[1].tokenizer.pad_token_id)
    short, long = (sessions["text"].run(None, {"input_ids": ids})[0] for ids in (input_ids, padded))
    np.testing.assert_allclose(short, long, atol=1e-6)


def test_what_is_written(adapter, exported):
    sizes = {path.name: path.stat().st_size for path in exported.folder.iterdir()}
    assert exported.files == sizes
    assert set(sizes) == {
        "image.onnx",
        "config.json",
        "processor_config.json",
        "text.onnx",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert exported.inputs == {"text.onnx": ["captions", "tokens"], "image.onnx": ["images", 3, 96, 32]}
    assert set(exported.deviations) == {"text.onnx", "image.onnx"}
    assert 0 < max(exported.deviations.values()) < 1e-5
    assert os.listdir(exported.folder.parent) == [exported.folder.name]
    assert exported.folder.stat().st_mode & 0o055 == 0o055


def test_no_path_of_this_machine_is_told(exported):
    for name in ("text.onnx", "image.onnx"):
        content = (exported.folder / name).read_bytes()
        assert str(Path(__file__).parents[3]).encode() not in content
        assert b"site-packages" not in content


def test_the_tokenizer_alone_pads_and_cuts_as_the_processor(adapter, exported):
    _, processor = adapter
    tokenizer = Tokenizer.from_file(str(exported.folder / "tokenizer.json"))
    found = [encoding.ids for encoding in tokenizer.encode_batch(SENTENCES)]
    assert found == processor(text=SENTENCES)["input_ids"].tolist()
    assert len(found[0]) == 77
    assert found[1][-1] == processor.tokenizer.eos_token_id


def test_the_processor_can_be_read_back(adapter, exported, pictures):
    processor = PromptCLIPProcessor.from_pretrained(exported.folder)
    before, after = (each(images=pictures, text=SENTENCES) for each in (adapter[1], processor))
    torch.testing.assert_close(after["pixel_values"], before["pixel_values"], atol=0, rtol=0)
    assert after["input_ids"].tolist() == before["input_ids"].tolist()


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_example_finds_what_the_search_finds(adapter, exported, photos, tmp_path, sentence):
    expected = FolderSearcher(*adapter, photos).search(sentence)
    program = f"import runpy\nrunpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    missing = {"torch", "transformers", *OURS}
    said = run_elsewhere(program, exported.folder, photos, sentence, folder=tmp_path, missing=missing)
    found = [line.split(maxsplit=1) for line in said.splitlines()]
    assert [path for _, path in found] == [str(hit.path) for hit in expected]
    assert len(found) == 7
    np.testing.assert_allclose([float(score) for score, _ in found], [hit.score for hit in expected], atol=1e-4)


def test_the_example_fits_a_page_beside_the_rules_that_it_copies_and_says_what_it_needs():
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) < 150
    assert "torch" not in text and "transformers" not in text


def test_large_weights_lie_beside_the_graph(adapter, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.onnx._internal.exporter._onnx_program, "_LARGE_MODEL_THRESHOLD", 0)
    path = towers.write_onnx(towers.ImageTower(adapter[0]), tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"image.onnx", "image.onnx.data"}
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert image_distance(onnxruntime.InferenceSession(moved / path.name), adapter[0], 2) < 1e-6


@pytest.fixture
def copied_graphs(exported, monkeypatch):
    """Exports are quick: instead of writing the model's graphs they copy those of the shared export."""

    def write(tower, folder):
        return Path(shutil.copy(exported.folder / tower.file_name, folder))

    monkeypatch.setattr(onnx_folder, "write_onnx", write)


def test_half_precision_becomes_float32(adapter):
    model = copy.deepcopy(adapter[0]).bfloat16()
    copied = towers.exportable_copy(model)
    assert {tensor.dtype for tensor in copied.state_dict().values()} == {torch.float32}
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.bfloat16}
    assert torch.equal(copied.visual_projection.weight, model.visual_projection.weight.float())


def test_an_adapter_is_merged_into_a_copy(tiny_clip_folder):
    base = PromptCLIPModel.from_clip(tiny_clip_folder, image_size=(96, 32))
    adapted = get_peft_model(base, ClipPromptConfig(text_prompt_length=2, vision_prompt_length=2, init_std=1.0))
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    copied = towers.exportable_copy(adapted)
    assert type(copied) is PromptCLIPModel
    assert copied.config.text_config.prompt_length == 2
    adapted.eval()
    pixel_values = torch.randn(2, 3, 96, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = adapted(pixel_values=pixel_values).image_embeds
    torch.testing.assert_close(towers.ImageTower(copied)(pixel_values), expected, atol=1e-6, rtol=0)
    after = adapted.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_training_mode_and_eager_attention_stay_as_they_are(adapter):
    model = copy.deepcopy(adapter[0]).train()
    model.set_attn_implementation("eager")
    copied = towers.exportable_copy(model)
    assert not any(module.training for module in copied.modules())
    assert copied.config._attn_implementation == "sdpa"
    assert model.training and model.config._attn_implementation == "eager"


def test_another_kind_of_model_is_refused(tiny_clip_folder, adapter, tmp_path):
    with pytest.raises(TypeError, match="model is a CLIPModel; it must be a PromptCLIPModel: load it by"):
        export_onnx(CLIPModel.from_pretrained(tiny_clip_folder), adapter[1], tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_the_processor_must_fit(adapter, tiny_clip_folder, tmp_path):
    other = PromptCLIPProcessor.from_clip(tiny_clip_folder, image_size=None)
    with pytest.raises(ValueError, match=r"makes images of \(64, 64\), the model takes \(96, 32\)"):
        export_onnx(adapter[0], other, tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_folder_that_is_taken_stays_as_it_is(adapter, copied_graphs, tmp_path):
    export_onnx(*adapter, tmp_path / "out")
    (tmp_path / "out" / "text.onnx").write_bytes(b"older")
    with pytest.raises(FileExistsError, match="out exists; name a folder that does not"):
        export_onnx(*adapter, tmp_path / "out")
    assert (tmp_path / "out" / "text.onnx").read_bytes() == b"older"


@pytest.mark.parametrize(
    ("factor", "fault"),
    [
        (1.01, r"image\.onnx differs.*\(3, 3, 96, 32\) are \d\.\de-03 apart, at most 1e-04"),
        (float("nan"), r"model '.*' holds NaN or infinity in visual_projection\.weight"),
    ],
)
def test_graphs_that_deviate_are_refused_with_numbers(adapter, copied_graphs, tmp_path, factor, fault):
    other = copy.deepcopy(adapter[0])
    with torch.no_grad():
        other.visual_projection.weight[:5] *= factor
    with pytest.raises(ValueError, match=fault):
        export_onnx(other, adapter[1], tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_graph_with_a_fixed_size_is_refused(adapter, exported):
    tower = towers.ImageTower(adapter[0])
    tower.input_shape = ["images", "channels", 96, 32]
    with pytest.raises(
        ValueError, match=r"image\.onnx takes pixel_values of shape \['images', 3, 96, 32\]; it must be"
    ):
        check.check_onnx(exported.folder / "image.onnx", tower)


def test_nothing_is_left_of_an_export_that_was_stopped(adapter, tmp_path, monkeypatch):
    def stop(tower, folder):
        (folder / tower.file_name).write_bytes(b"half a gra")
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx_folder, "write_onnx", stop)
    with pytest.raises(KeyboardInterrupt):
        export_onnx(*adapter, tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_files_are_on_disk_before_the_folder_appears(adapter, copied_graphs, tmp_path, monkeypatch):
    synced = []
    sync = files.sync
    monkeypatch.setattr(files, "sync", lambda path: synced.append((path, (tmp_path / "out").exists())) or sync(path))
    exported = export_onnx(*adapter, tmp_path / "out")
    assert {path.name for path, public in synced if not public} > {*exported.files}
    assert synced[-1] == (tmp_path, True)


def test_the_samples_cover_what_is_promised(adapter):
    model, processor = adapter
    tower = towers.TextTower(model, processor.tokenizer.eos_token_id, processor.tokenizer.pad_token_id)
    shapes = [tuple(batch.shape) for batch in tower.samples()]
    assert min(shapes[0]) > 1
    assert {(1, 2), (1, 77), (2, 3), (5, 77)} < set(shapes)
    for batch in tower.samples():
        ends = (batch == tower.end_id).int().argmax(dim=1)
        assert ends[0] == batch.shape[1] - 1
        assert all(
            (row[end:] == tower.pad_id).all() for row, end in zip(batch, ends, strict=True)
        )  # the pad is the end
        assert batch.max() < model.config.text_config.vocab_size
    assert [len(batch) for batch in towers.ImageTower(model).samples()] == [3, 1, 2, 5]


def test_no_sample_is_longer_than_a_short_context(adapter):
    model = copy.deepcopy(adapter[0])
    model.config.text_config.max_position_embeddings = 5
    shapes = {tuple(batch.shape) for batch in towers.TextTower(model, 1, 1).samples()}
    assert max(tokens for _, tokens in shapes) == 5
    assert min(tokens for _, tokens in shapes) == 2


def test_settings_for_images_are_plain_json(exported):
    settings = json.loads((exported.folder / "processor_config.json").read_text())["image_processor"]
    assert settings["size"] == {"height": 96, "width": 32}
    assert settings["rescale_factor"] == pytest.approx(1 / 255)
    assert settings["resample"] == Image.Resampling.BICUBIC
    assert not settings["do_center_crop"]
