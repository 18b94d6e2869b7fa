import argparse
import json
import zipfile

import pytest
import torch

from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor, cli
from modeling_prompt_clip.conversion import convert_checkpoint, find_layout


@pytest.mark.parametrize(
    "kind",
    [
        "openai",
        "irra",
        "irra, distributed",
        "clip2textreid",
        "tbps",
        "transformers",
    ],
)
def test_embeddings_are_those_of_the_source(source, convert, kind):
    images, ids = source.batch()
    _, folder = convert({"model": source.state(kind), "epoch": 3})
    model = PromptCLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        output = model(input_ids=ids, pixel_values=images)
    for got, expected in zip((output.image_embeds, output.text_embeds), source.embeddings(), strict=True):
        torch.testing.assert_close(got, expected, atol=2e-6, rtol=0)


def test_half_precision_weights_become_float32(source, convert):
    state = {name: tensor.half() for name, tensor in source.state("irra").items()}
    _, folder = convert(state, "weights.safetensors")
    model = PromptCLIPModel.from_pretrained(folder).eval()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    images, ids = source.batch()
    with torch.no_grad():
        embeds = model(input_ids=ids, pixel_values=images).text_embeds
    torch.testing.assert_close(embeds, source.embeddings()[1], atol=5e-3, rtol=0)


def test_what_is_no_part_of_clip_is_left_out_and_listed(source, convert):
    converted, _ = convert(source.state("irra"))
    assert converted.dropped_parts() == {
        "classifier": 1,
        "ln_post": 1,
        "cross_modal_transformer": 1,
        "visul_emb_layer": 1,
    }
    assert sum(converted.dropped_parts().values()) == len(converted.dropped)


def test_the_processor_fits_and_tbps_clip_has_imagenet_statistics(source, convert):
    converted, folder = convert(source.state("tbps"))
    processor = PromptCLIPProcessor.from_pretrained(folder)
    assert processor.image_size == (96, 32) == converted.config.vision_config.image_height_width
    assert processor.image_processor.image_mean == (0.485, 0.456, 0.406)
    assert processor.tokenizer.model_max_length == 20


def test_statistics_can_be_named(source, convert):
    _, folder = convert(source.state("tbps"), normalization="clip")
    assert PromptCLIPProcessor.from_pretrained(folder).image_processor.image_mean[0] == pytest.approx(0.48145466)


def test_the_temperature_is_kept_where_there_is_one(source, convert):
    _, folder = convert(source.state("openai"))
    assert PromptCLIPModel.from_pretrained(folder).logit_scale.item() == 3.0


@pytest.mark.parametrize(("grid", "size"), [((4, 4), (64, 64)), ((6, 2), (96, 32)), ((24, 8), (384, 128))])
def test_sizes_that_the_positions_tell(make_source, convert, grid, size):
    converted, _ = convert(make_source(grid).state())
    assert converted.config.vision_config.image_height_width == size


def test_other_sizes_must_be_named(make_source, convert):
    state = make_source((4, 2)).state()
    with pytest.raises(ValueError, match="positions for 8 patches.*give the image_size"):
        convert(state)
    with pytest.raises(ValueError, match=r"\[64, 64\] makes 4 x 4 patches.*positions for 8"):
        convert(state, image_size=(64, 64))
    converted, _ = convert(state, image_size=(64, 32))
    assert converted.config.vision_config.image_height_width == (64, 32)


def test_one_of_several_models_is_chosen_by_prefix(source, convert):
    state = source.state("irra")
    teacher = {name.replace("base_model.", "teacher."): torch.zeros_like(tensor) for name, tensor in state.items()}
    with pytest.raises(ValueError, match=r"several CLIPs; choose one by prefix: 'base_model\.', 'teacher\.'"):
        find_layout(teacher | state)
    converted, _ = convert(teacher | state, prefix="base_model.")
    assert "teacher.visual.conv1.weight" in converted.dropped
    with pytest.raises(ValueError, match="no CLIP .* under the prefix 'student.'"):
        find_layout(state, "student.")


def test_a_tensor_too_few(source, convert, tmp_path):
    state = source.state("irra")
    del state["base_model.visual.transformer.resblocks.1.mlp.c_fc.bias"]
    with pytest.raises(
        ValueError,
        match=r"lacks 1 tensor of CLIP, such as base_model\.visual\.transformer.*1\.mlp\.c_fc\.bias",
    ):
        convert(state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pth"]


def test_code_in_a_checkpoint_is_not_run(source, convert, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "proof"), "w"))

    with pytest.raises(ValueError, match=r"more than tensors.*refused.*save only the state dict"):
        convert({"model": source.state(), "args": Evil()})
    with pytest.raises(ValueError, match="more than tensors"):
        convert({"model": source.state(), "args": argparse.Namespace(lr=1)})
    assert not (tmp_path / "proof").exists()


def test_a_torchscript_archive_is_refused(convert, tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "ViT-B-16.pt")
    with pytest.raises(ValueError, match="TorchScript archive.*refused"):
        convert_checkpoint(tmp_path / "ViT-B-16.pt", tmp_path / "converted")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-LFS pointer.*git lfs pull"),
        (b"<!doctype html><p>Sign in", "not what torch.save writes.*download it again"),
        (b"hello", "not what torch.save writes"),
        (b"\x80\x02hello", "damaged; copy or download it again"),
        (b"PK\x03\x04hello", "damaged"),
    ],
)
def test_what_only_has_the_name_of_a_checkpoint(tmp_path, content, message):
    (tmp_path / "junk.pth").write_bytes(content)
    with pytest.raises(OSError, match=message):
        convert_checkpoint(tmp_path / "junk.pth", tmp_path / "converted")


def test_the_refusal_names_what_is_refused(source, convert):
    with pytest.raises(ValueError, match=r"refused \(it names argparse\.Namespace\)\. Where") as error:
        convert({"model": source.state(), "args": argparse.Namespace(lr=1)})
    assert "\x1b" not in str(error.value)


def test_files_that_are_none(source, convert, tmp_path):
    with pytest.raises(OSError, match="is no file"):
        convert_checkpoint(tmp_path / "absent.pth", tmp_path / "converted")
    (tmp_path / "cut.pth").write_bytes(b"")
    with pytest.raises(OSError, match="cut"):
        convert_checkpoint(tmp_path / "cut.pth", tmp_path / "converted")
    torch.save(source.state(), tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises((OSError, ValueError), match=r"half\.pth"):
        convert_checkpoint(tmp_path / "half.pth", tmp_path / "converted")
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(OSError, match="damaged"):
        convert_checkpoint(tmp_path / "bad.safetensors", tmp_path / "converted")
    with pytest.raises(ValueError, match="no tensors"):
        convert({"epoch": 3})
    with pytest.raises(ValueError, match=r"no CLIP.*names begin with weight, bias"):
        convert(torch.nn.Linear(2, 2).state_dict())
    assert zipfile.is_zipfile(tmp_path / "best.pth")


def test_a_target_that_exists_is_left_alone(source, convert, tmp_path):
    (tmp_path / "converted").mkdir()
    with pytest.raises(OSError, match="exists"):
        convert(source.state())
    assert not any((tmp_path / "converted").iterdir())


def test_the_tokenizer_must_fit(make_source, tiny_clip_folder, convert):
    other = type(make_source((6, 2)))(20_000)
    with pytest.raises(ValueError, match="its text tower takes 20000"):
        convert(other.state())


def test_the_command(source, tiny_clip_folder, tmp_path, capsys):
    torch.save(source.state("irra"), tmp_path / "best.pth")
    arguments = ["convert", str(tmp_path / "best.pth"), str(tmp_path / "irra"), "--tokenizer", str(tiny_clip_folder)]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "CLIP with 2 vision layers of 128 and 3 text layers of 64" in out
    assert "left out, as no part of CLIP: classifier (1 tensor)" in out
    assert cli.main(arguments) == 1
    assert "exists; name a folder that does not" in capsys.readouterr().err
    arguments[2] = str(tmp_path / "again")
    assert cli.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["image_size"] == [96, 32]
