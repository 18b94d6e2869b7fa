import json
import logging
import sys

import onnxruntime
import pytest
import torch
from PIL import Image

import modeling_prompt_clip.commands.export
from modeling_prompt_clip import cli
from modeling_prompt_clip.commands.export import main
from modeling_prompt_clip.export import OnnxExport
from modeling_prompt_clip.loading import load_model


@pytest.fixture
def stubbed(monkeypatch):
    """Nothing is loaded or written; the calls that would do it are listed."""
    calls = []

    def load(name, *, image_size=None):
        calls.append((name, image_size))
        return "the model", "the processor"

    def export(model, processor, folder):
        calls.append((model, processor, folder.name))
        inputs = {"text.onnx": ["captions", "tokens"], "image.onnx": ["images", 3, 96, 32]}
        sizes = {"image.onnx": 344_681_237, "text.onnx": 3_015_888, "tokenizer.json": 42_130}
        return OnnxExport(folder, sizes, inputs, {"text.onnx": 1.2e-6, "image.onnx": 5e-7})

    monkeypatch.setattr(modeling_prompt_clip.commands.export, "load_model", load)
    monkeypatch.setattr(modeling_prompt_clip.commands.export, "export_onnx", export)
    return calls


def test_the_stand_in_at_another_size(tmp_path, capfd, caplog, recwarn):
    caplog.set_level(logging.INFO)
    folder = tmp_path / "out"
    arguments = ["export", "stand-in", "--output", str(folder), "--image_size", "32", "64", "--format", "onnx"]
    assert cli.main(arguments) == 0
    assert not [each for each in recwarn if issubclass(each.category, FutureWarning)]
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == f"{folder}:"
    assert [line.split()[0] for line in lines[1:]] == sorted(path.name for path in folder.iterdir())
    assert "takes images x 3 x 32 x 64; embeddings at most " in "\n".join(lines)
    shown = [each for each in caplog.records if each.levelno > logging.INFO or each.name.startswith("modeling_")]
    assert [record.getMessage() for record in shown] == [
        "exporting and checking text.onnx",
        "exporting and checking image.onnx",
    ]
    model, processor = load_model("stand-in", image_size=(32, 64))
    sentences = ["a man in a red jacket", "", "a woman with a bag " * 30]
    inputs = processor(text=sentences, images=[Image.new("RGB", (30, 70), "red")])
    with torch.no_grad():
        expected = model(**inputs)
    for tower, given in (("text", "input_ids"), ("image", "pixel_values")):
        session = onnxruntime.InferenceSession(folder / f"{tower}.onnx")
        (found,) = session.run([f"{tower}_embeds"], {given: inputs[given].numpy()})
        torch.testing.assert_close(torch.from_numpy(found), expected[f"{tower}_embeds"], atol=1e-6, rtol=0)


def test_the_table(stubbed, tmp_path, capsys):
    assert main(["M", "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'out'}:\n"
        "  image.onnx        344.68 MB  takes images x 3 x 96 x 32; embeddings at most 5.0e-07 from torch's\n"
        "  text.onnx           3.02 MB  takes captions x tokens; embeddings at most 1.2e-06 from torch's\n"
        "  tokenizer.json      0.04 MB\n"
    )
    assert stubbed == [("M", None), ("the model", "the processor", "out")]


def test_json_is_for_programs(stubbed, tmp_path, capsys):
    assert main(["M", "--output", str(tmp_path / "out"), "--image_size", "96", "32", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "model": "M",
        "format": "onnx",
        "folder": str(tmp_path / "out"),
        "files": {"image.onnx": 344_681_237, "text.onnx": 3_015_888, "tokenizer.json": 42_130},
        "inputs": {"text.onnx": ["captions", "tokens"], "image.onnx": ["images", 3, 96, 32]},
        "largest_deviation": {"text.onnx": 1.2e-6, "image.onnx": 5e-7},
    }
    assert stubbed[0] == ("M", (96, 32))


def test_a_folder_that_is_taken_is_refused_before_the_model_is_loaded(stubbed, tmp_path, capsys):
    assert cli.main(["export", "M", "--output", str(tmp_path)]) == 1
    assert capsys.readouterr() == (
        "",
        f"prompt-clip export: error: --output {tmp_path} exists; name a folder that does not\n",
    )
    assert stubbed == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["M"],
        ["--output", "out"],
        ["M", "--output", "out", "--format", "tflite"],
        ["M", "--output", "out", "--image_size", "0", "32"],
        ["M", "--output", "out", "--image_size", "96"],
    ],
)
def test_wrong_use_exits_with_2(arguments, stubbed, capsys):
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    assert capsys.readouterr().err.startswith("usage: prompt-clip export")
    assert stubbed == []


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_extra_is_named(missing, monkeypatch, capsys):
    class NotInstalled:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == missing:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    imported = ("onnx", "onnx_ir", "onnxruntime", "onnxscript", "modeling_prompt_clip.export")
    for name in list(sys.modules):
        if name.startswith(tuple(f"{each}." for each in imported)) or name in imported:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "modeling_prompt_clip.commands.export")
    monkeypatch.setattr(sys, "meta_path", [NotInstalled(), *sys.meta_path])
    assert cli.main(["export", "M", "--output", "out"]) == 1
    assert capsys.readouterr() == (
        "",
        f'prompt-clip export: error: {missing} is not installed; run pip install -e ".[export]" in a checkout of '
        "PromptCLIP\n",
    )
