"""The code of docs/training.md runs."""

import json
import re
import sys
from pathlib import Path

import pytest

from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor
from trainers import TwoStageTrainer
from trainers.commands import evaluate
from trainers.run_folder.metrics_log import read_metrics

DOCUMENT = Path(__file__).parents[2] / "docs" / "training.md"


def blocks(heading: str, language: str = "python") -> list[str]:
    """Code under a heading of the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^```(\w*)\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE)
    return [code for name, code in found if name == language]


def test_your_own_loss(make_args, splits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (code,) = blocks("Your own loss")
    Path(code.splitlines()[0].removeprefix("# ")).write_text(code)
    (command,) = blocks("Your own loss", language="")
    args = make_args(direct=True, stage_two_objectives=command.split()[-1])
    trainer = TwoStageTrainer(args, splits=splits)
    trainer.train()
    trained = [record for record in read_metrics(trainer.run.metrics) if record["split"] == "train"]
    assert all(record["my_losses:soft_triplet"] > 0 for record in trained)


def test_your_own_data_set(make_args, splits, tmp_path, monkeypatch, tiny_folder, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (code,) = blocks("Your own data set")
    Path(code.splitlines()[0].removeprefix("# ")).write_text(code)
    Path("pictures").mkdir()
    for split, rows in splits.items():
        listed = [{**row, "image": row["image_id"]} for row in rows.remove_columns("image")]
        Path("pictures", f"{split}.json").write_text(json.dumps(listed))
        for row in rows:
            row["image"].save(Path("pictures", row["image_id"]))
    (command,) = blocks("Your own data set", language="")
    (dataset,) = re.findall("--dataset (.*?) ", command)
    trainer = TwoStageTrainer(make_args(dataset=dataset, data_dir="pictures", stages=["one"]))
    passed = TwoStageTrainer(make_args(output_dir="passed", stages=["one"]), splits=splits)
    assert trainer.train() == passed.train()
    arguments = ["run", "--data", dataset, "--data_dir", "pictures", "--split", "test", "--json"]
    assert evaluate.main(arguments) == 0
    tested = json.loads(capsys.readouterr().out)[0]["metrics"]
    assert tested == trainer.run.recorded()[-2]["metrics"]
    monkeypatch.setitem(sys.modules, "my_data", None)  # an import would fail
    with pytest.raises(ValueError, match="trained on my_data:load, code that only you can start: .*add --data my_d"):
        evaluate.main(["run", "--split", "test"])


def test_callbacks(make_args, splits, tiny_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("Callbacks")
    names = {
        "model": PromptCLIPModel.from_pretrained(tiny_folder),
        "processor": PromptCLIPProcessor.from_pretrained(tiny_folder),
        "args": make_args(),
        **splits,
    }
    exec(code, names)
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        [stage, step] for stage in ("one", "two") for step in ("2", "3")
    ]
    assert isinstance(PromptCLIPModel.from_pretrained("my_model"), PromptCLIPModel)
