"""Cards made from hostile names: the same headings, tables and metadata as from others, and no HTML."""

import json
import re
import shutil

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from modeling_prompt_clip.hub.card_facts import DataSource, ModelCardFacts, Table
from modeling_prompt_clip.hub.model_card import card_data, render_model_card, with_front_matter
from trainers.publishing.hub_card import eval_results, hub_card
from trainers.publishing.run_card import write_run_card
from trainers.run_folder.folder import RunFolder

PLAIN = "plain"
HOSTILE = [
    "<script>alert(1)<\\script> <!--",
    "a\n---\nlicense: mit\n---\n\n# b",
    "x | y\n| a | b |\n|---|---|",
    "`code` ``` \n```\n# out",
    "![i](x.png) [l](javascript:x) **b**",
    "{{ 7 * 7 }} {% raw %} {0}",
    "ls\u2028# x\x85# y",
    "lone \udcff surrogate",
    "'q': \"r\" # c",
]


def structure(text):
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inner = {child.type for token in tokens for child in token.children or ()}
    return [token.type for token in tokens], inner & {"html_inline", "image", "link"}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_cards_of_a_run(tiny_run, make_args, tmp_path, name):
    cards = {}
    for told in (PLAIN, name):
        run = RunFolder(shutil.copytree(tiny_run, tmp_path / told / "runs" / told))
        for folder in (base := tmp_path / told / "base" / told, data := tmp_path / told / "data" / told):
            folder.mkdir(parents=True)
        args = make_args(
            base_model=str(base),
            dataset="auto",
            data_dir=str(data),
            dataset_options={told: told},
            prompt_init="activations",
            prompt_init_phrase=told,
            output_dir=str(run.path),
        )
        rows = run.recorded()
        run.results.write_text(json.dumps([row | {"method": told, "split": told} for row in rows]))
        write_run_card(run, args, run.finished_stages(), [])
        own, adapter = run.path / "README.md", run.adapter / "README.md"
        of_the_hub = hub_card(own.read_text(encoding="utf-8"), args, rows, "alice/people")
        cards[told] = [own.read_text(encoding="utf-8"), ModelCard.load(adapter).text, ModelCard(of_the_hub).text]
        data = ModelCard(of_the_hub).data
        assert data.license == "other" and data.model_name == "people" and len(data.eval_results) == 5
        assert data.eval_results[0].dataset_name == " ".join(
            re.sub("[\x85\u2028]", " ", told).replace("\udcff", "?").split()
        )
    for hostile, plain in zip(cards[name], cards[PLAIN], strict=True):
        assert structure(hostile) == structure(plain)
        assert "<script" not in hostile


@pytest.mark.parametrize("name", HOSTILE)
def test_the_template_and_its_head(name):
    def card(told):
        facts = ModelCardFacts(
            told,
            "A model.",
            (),
            (96, 32),
            sources=(DataSource(told, "Terms."),),
            results=(Table("In percent.", ("model", told), ((told, "1.00"),)),),
        )
        row = {"split": told, "metrics": dict.fromkeys(("R@1", "R@5", "R@10", "mAP", "mINP"), 1.0)}
        return ModelCard(
            with_front_matter(render_model_card(facts), card_data(told, eval_results=eval_results(row, told)))
        )

    hostile, plain = card(name), card(PLAIN)
    assert structure(hostile.text) == structure(plain.text)
    assert hostile.data.to_dict().keys() == plain.data.to_dict().keys()
    assert len(hostile.data.eval_results) == 5 and hostile.data.tags == plain.data.tags
