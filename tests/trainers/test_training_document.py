"""The code of docs/training.md runs."""

import re
from pathlib import Path

from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor

DOCUMENT = Path(__file__).parents[2] / "docs" / "training.md"


def blocks(heading: str, language: str = "python") -> list[str]:
    """Code under a heading of the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, flags=re.DOTALL)


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
