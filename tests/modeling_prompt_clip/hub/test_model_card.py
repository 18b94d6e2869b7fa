"""Cards by the template: whole with everything and with nothing known, and true for a model without a run."""

import os
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import jinja2
import pytest
import yaml
from huggingface_hub import ModelCard

from modeling_prompt_clip import PromptCLIPConfig, __version__
from modeling_prompt_clip.hub import model_card
from modeling_prompt_clip.hub.card_facts import DataSource, ModelCardFacts, Snippet, Table
from modeling_prompt_clip.hub.model_card import card_of_model, hub_name, model_details, render_model_card
from modeling_prompt_clip.loading import load_model

REPO = "alice/tiny"
SECTIONS = ["How to load it", "Data and licences", "Recipe", "Results", "Limits", "What it must not be used for"]
LEFT = re.compile(r"\{%|%\}|\{\{\s*\w+(\.\w+)*\s*\}\}|More Information Needed|\bNone\b|Undefined|\[\]|\(\)")

BARE = ModelCardFacts("tiny", "A model.", (Snippet("Here:", "model, processor = None, None"),), (96, 32))
FULL = replace(
    BARE,
    details={"Images": "96x32 pixels"},
    sources=(DataSource("CUHK-PEDES", "Academic use only.", "https://example.org/cuhk", "@misc{cuhk}"),),
    data_notes=("Two images were left out.",),
    recipe=("Stage one: 3 steps.",),
    repeat="Run it again.",
    results=(Table("In percent.", ("model", "split", "R@1"), (("a", "test", "1.00"),), 2, ("It is low.",)),),
    protocol="Every caption queries all images.",
    not_measured="Not measured: RSTPReid.",
    environment="Trained on a lamp.",
)


def body(card):
    """A card without its code."""
    return re.sub(r"^```.*?^```$", "(code)", card, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("facts", [BARE, FULL, replace(FULL, drawn=True)], ids=["bare", "full", "drawn"])
def test_a_card_is_whole(facts):
    card = render_model_card(facts)
    headings = re.findall(r"^## (.*)$", body(card), flags=re.MULTILINE)
    assert [heading for heading in headings if heading != "Environment"] == [*SECTIONS, "Citation"]
    for part in body(card).split("\n## ")[1:]:
        assert part.partition("\n")[2].strip(), part
    assert not LEFT.search(body(card)) and "\n\n\n" not in card
    for rule in ("legal basis", "GDPR", "AI Act", "DukeMTMC", "delete", "surveillance", "never identities"):
        assert rule in card, rule


def test_every_fact_stands_in_the_card():
    card = render_model_card(FULL)
    for text in (
        "# tiny\n\nA model. A sentence",
        "- **Images**: 96x32 pixels.",
        "Here:\n\n```python\nmodel, processor = None, None\n```",
        "- **CUHK-PEDES** ([page](https://example.org/cuhk)). Academic use only.\n- Two images were left out.\n\nW",
        "- Stage one: 3 steps.\n\nRun it again.\n",
        "Every caption queries all images.\n\nIn percent.\n\n| model | split | R@1 |\n|---|---|---:|\n| a | test |",
        "\n\nIt is low.\n\nNot measured: RSTPReid.\n\n## Limits",
        "## Environment\n\nTrained on a lamp.\n",
        "@misc{cuhk}\n```\n",
    ):
        assert text in card, text
    assert len(fields(ModelCardFacts)) == 14  # a new one belongs into the template, and into this test


def test_what_is_not_known_is_said():
    card = render_model_card(BARE)
    for text in ("not recorded what the model was trained on", "Not recorded: the model", "No results are recorded"):
        assert text in card, text
    assert "| " not in card


def test_drawn_people_are_no_people():
    assert "cannot find, recognise or describe real people" in render_model_card(replace(FULL, drawn=True))
    assert "inherit the terms" not in render_model_card(replace(FULL, drawn=True))
    card = render_model_card(FULL)
    assert "It finds people" in card and "inherit the terms" in card and "demographics" in card


def test_a_placeholder_that_nothing_fills_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "template.md").write_text("{{ facts.colour }}")
    monkeypatch.setattr(model_card, "FileSystemLoader", lambda folder: jinja2.FileSystemLoader(tmp_path))
    monkeypatch.setattr(model_card, "TEMPLATE", "template.md")
    with pytest.raises(jinja2.UndefinedError, match="colour"):
        render_model_card(BARE)


def test_the_citation_is_that_of_the_package():
    cff = yaml.safe_load((Path(__file__).parents[3] / "CITATION.cff").read_text())
    card = render_model_card(BARE)
    (paper,) = cff["references"]
    assert f"title={{{cff['title']}}}" in card and f"version={{{__version__}}}" in card
    assert f"year={{{str(cff['date-released'])[:4]}}}" in card and cff["authors"][0]["name"] in card
    authors = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in paper["authors"])
    assert f"title={{{paper['title']}}},\n  author={{{authors}}}" in card and paper["url"][-10:] in card


def test_the_card_of_a_model_without_a_run(hub, tiny_adapter_folder, tmp_path):
    model, _ = load_model(tiny_adapter_folder)
    text = card_of_model(model, REPO)
    card = ModelCard(text)
    card.validate()
    assert (card.data.license, card.data.library_name, card.data.base_model) == ("other", "transformers", None)
    assert card.data.eval_results is None and not LEFT.search(body(text))
    assert "96x32 pixels (height x width), patches of 16" in text and "unit vectors of 24 dimensions" in text
    assert "3 in each layer of the text tower and 5 in each layer of the vision tower, merged" in text
    assert str(tiny_adapter_folder.parent) not in text and tiny_adapter_folder.name not in text
    model.name_or_path = "alice/base"
    assert ModelCard(card_of_model(model, REPO, license="mit")).data.license == "mit"
    assert ModelCard(card_of_model(model, REPO)).data.base_model == "alice/base"
    assert "made from `alice/base`" in card_of_model(model, REPO)
    model.name_or_path = REPO  # pushed again to where it came from
    assert ModelCard(card_of_model(model, REPO)).data.base_model is None


def test_its_snippets_run(hub, tiny_adapter_folder, tmp_path):
    model, processor = load_model(tiny_adapter_folder)
    model.push_to_hub(REPO, processor=processor)
    first, second, use = re.findall(r"```python\n(.*?)```", card_of_model(model, REPO), flags=re.DOTALL)
    there = {}
    exec(second + use, there)
    assert there["scores"].shape == (1, 1)
    # the code of the repository, in a process of its own
    environment = os.environ | hub.environment(str(tmp_path / "home")) | {"OMP_NUM_THREADS": "1"}
    script = f"{first}\n{use}\nprint(scores.item(), type(model).__module__)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    score, module = done.stdout.split()
    assert float(score) == pytest.approx(there["scores"].item(), abs=1e-5)
    assert module.startswith("transformers_modules")


def test_prompts_in_words(tiny_folder):
    config = PromptCLIPConfig.from_pretrained(tiny_folder)
    assert model_details(config)["Prompts"] == "none"
    config.vision_config.prompt_length, config.vision_config.prompt_layers = 2, [0]
    assert model_details(config)["Prompts"] == "2 in layer 0 of the vision tower, merged into the model"
    config.vision_config.prompt_layers = [0, 2]
    assert model_details(config)["Prompts"].startswith("2 in each of the layers 0, 2 of the vision tower")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai/clip-vit-base-patch16", True),
        ("runs/demo/model", False),
        ("/home/alice", False),
        ("./model", False),
        ("stand-in", False),
        ("", False),
        ("a b/c", False),
    ],
)
def test_names_on_the_hub(name, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub_name(name) == (name if expected else None)
    (tmp_path / "openai" / "clip-vit-base-patch16").mkdir(parents=True)
    assert hub_name(name) is None
