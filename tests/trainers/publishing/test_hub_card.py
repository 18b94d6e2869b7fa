"""Cards on the Hub: what it reads at their head, what their owner wrote, and that all their code runs."""

import json
import shutil
import subprocess
import sys

import pytest
import yaml
from huggingface_hub import ModelCard

from published import card_snippets
from trainers.arguments.resolved import UNNAMED_DATA
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.publishing import push_run
from trainers.publishing.content import public_config, write_content
from trainers.publishing.hub_card import card_in_progress, hub_card

REPO, ADAPTER, BASE = "alice/tiny-people", "alice/tiny-prompts", "alice/base"
ROW = {"stage": "two", "split": "test", "direction": "text_to_image"}
FIGURES = {"R@1": 50.123, "R@5": 60.0, "R@10": 70.0, "mAP": 40.0, "mINP": 30.0}

# runs each way of loading in a name space of its own, and tells what it found
READER = """
import json, sys
for code in json.load(open(sys.argv[1])):
    there = {}
    exec(code, there)
    print(f"{there['scores'].item():.6f}", type(there["model"]).__module__)
"""


@pytest.fixture
def run(tiny_run, tmp_path):
    """A finished run, whose settings name a base model on the Hub."""
    folder = shutil.copytree(tiny_run, tmp_path / "tiny")
    config, adapter = folder / "config.yaml", folder / "adapter" / "adapter_config.json"
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"base_model": BASE}))
    adapter.write_text(json.dumps(json.loads(adapter.read_text()) | {"base_model_name_or_path": BASE}))
    return folder


@pytest.fixture
def make_card(make_args):
    def make(card="# tiny\n", results=(), adapter_only=False, license=None, **settings):
        text = hub_card(card, make_args(**settings), list(results), REPO, adapter_only=adapter_only, license=license)
        return ModelCard(text)

    return make


def test_all_code_of_pushed_cards_runs(hub, run, tiny_clip_folder, tmp_path):
    hub.add_repository("model", BASE, {path.name: path.read_bytes() for path in tiny_clip_folder.iterdir()})
    push_run(run, REPO)
    push_run(run, ADAPTER, adapter_only=True)
    cards = [hub.files("model", name)["README.md"].decode() for name in (REPO, ADAPTER)]
    codes = [code for card in cards for code in card_snippets(card)]
    assert len(codes) == 4
    for card, name in zip(cards, (REPO, ADAPTER), strict=True):
        ModelCard(card).validate()
        assert name in card and '("model")' not in card and '"."' not in card and "In the folder" not in card
        for place in (str(run), str(run.parent), str(tiny_clip_folder), "/tmp/", "{%", "More Information Needed"):
            assert place not in card, place
    (tmp_path / "codes.json").write_text(json.dumps(codes))
    environment = hub.environment(str(tmp_path / "home")) | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", READER, str(tmp_path / "codes.json")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    remote, whole, merged, peft = (line.split() for line in done.stdout.splitlines())
    assert float(remote[0]) == pytest.approx(float(whole[0]), abs=1e-5) and remote[1].startswith(
        "transformers_modules"
    )
    assert float(merged[0]) == pytest.approx(float(peft[0]), abs=1e-5) and peft[1].startswith("peft")
    assert abs(float(whole[0]) - float(peft[0])) > 1e-3  # stage two has trained on


def test_the_head_parses_back(hub, run, tmp_path):
    write_content(run, tmp_path / "content", REPO)
    card = ModelCard.load(tmp_path / "content" / "README.md")
    card.validate()
    assert (card.data.license, card.data.library_name, card.data.base_model) == ("other", "transformers", BASE)
    tested = [row for row in json.loads((run / "results.json").read_text()) if row["split"] == "test"]
    (row,) = [row for row in tested if row["direction"] == "text_to_image"]
    found = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert found == {name: round(row["metrics"][name], 2) for name in FIGURES}
    assert {(each.dataset_name, each.dataset_split) for each in card.data.eval_results} == {(UNNAMED_DATA, "test")}
    assert card.data.model_name == "tiny-people"
    write_content(run, tmp_path / "adapter", ADAPTER, adapter_only=True)
    card = ModelCard.load(tmp_path / "adapter" / "README.md")
    assert (card.data.library_name, card.data.base_model, card.data.eval_results) == ("peft", BASE, None)
    assert card.data.tags[0] == "clip" and "prompts of stage one" in card.text


def test_the_figures_are_those_of_the_model(make_card):
    rows = [ROW | {"method": name, "metrics": dict.fromkeys(FIGURES, value)} for name, value in
            (("zero-shot", 1.0), ("stage one", 2.0), ("two-stage", 3.0), ("direct", 4.0))]  # fmt: skip
    rows.append(rows[2] | {"split": "validation", "metrics": FIGURES})
    for settings, expected in (({}, 3.0), ({"adapter_only": True}, 2.0), ({"direct": True}, 4.0)):
        found = make_card(results=rows, **settings).data.eval_results
        assert [result.metric_value for result in found] == [expected] * 5
    assert make_card(results=rows[:1]).data.eval_results is None
    (first, *_) = make_card(results=[ROW | {"method": "two-stage", "metrics": FIGURES}]).data.eval_results
    assert first.metric_value == 50.12


def test_licence_data_and_base_model(make_card):
    assert make_card(base_model="stand-in").data.license == "apache-2.0"
    assert make_card(base_model="stand-in").data.base_model is None
    card = make_card(dataset="alice/set", also_train_on=["rstp_reid=R", "bob/set"], base_model=BASE)
    assert (card.data.license, card.data["license_name"]) == ("other", "terms-of-the-training-data")
    assert card.data.datasets == ["alice/set", "bob/set"] and card.data.base_model == BASE
    assert make_card(license="mit").data.license == "mit" and make_card(license="mit").data.license_name is None


def test_what_the_owner_wrote_stays(make_card, run):
    card = (run / "README.md").read_text() + "\nAsk alice.\n"
    assert make_card(card).text.endswith("Ask alice.\n")
    headed = make_card(f"---\nlicense: cc-by-4.0\nthumbnail: a.png\ntags: [mine]\n---\n\n{card}")
    assert headed.text.count("---\n\n#") == 0 and headed.text.endswith("Ask alice.\n")
    assert (headed.data.license, headed.data.thumbnail, headed.data.tags) == ("cc-by-4.0", "a.png", ["mine"])
    assert headed.data.license_name is None
    assert headed.data.library_name == "transformers" and f'load_model("{REPO}")' in headed.text
    assert make_card("---\nlicense: cc-by-4.0\n---\n\n# t\n", license="mit").data.license == "mit"


def test_an_older_run_without_a_card_of_its_adapter_can_go_on(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "older")
    (folder / "adapter" / "README.md").unlink()
    with pytest.raises(FileNotFoundError, match="no adapter/README.md; the run is not finished: resume it"):
        write_content(folder, tmp_path / "content", ADAPTER, adapter_only=True)


def test_the_card_of_weights_in_the_middle(make_args, tiny_clip_folder):
    for stage, library in (("one", "peft"), ("two", "transformers")):
        text = card_in_progress(make_args(hub_model_id=REPO), stage, 40)
        card = ModelCard(text)
        assert card.data.library_name == library and card.data.eval_results is None
        assert f"weights of stage {stage} after 40 steps" in text and "Nothing has been tested yet" in text
        assert f'"{REPO}"' in text and "No results are recorded" in text and "without the run" not in text
        assert str(tiny_clip_folder.parent) not in text and "must not be used for" in text


def test_published_settings_have_no_folder_of_this_machine(make_args, tiny_clip_folder, tmp_path):
    args = make_args(dataset=str(tmp_path), also_train_on=["rstp_reid=/data/R", str(tmp_path / "more")], data_dir=None)
    published = yaml.safe_load(public_config(args))
    assert (published["base_model"], published["dataset"]) == ("tiny_clip", tmp_path.name)
    assert published["also_train_on"] == ["rstp_reid", "more"]
    assert not {"output_dir", "data_dir"} & published.keys()
    assert str(tmp_path) not in public_config(args) and "/data" not in public_config(args)
    earlier = public_config(make_args(stages=["two"], adapter=str(tmp_path / "adapter")))
    assert TwoStageTrainingArguments(**yaml.safe_load(earlier)).adapter == tmp_path.name
    options = {"file": "/home/alice/secret/a.json", "validation_share": 0.1}
    published = yaml.safe_load(public_config(make_args(dataset_options=options)))
    assert published["dataset_options"] == {"file": "a.json", "validation_share": 0.1}
    kept = yaml.safe_load(public_config(make_args(base_model=BASE, dataset="alice/set")))
    assert (kept["base_model"], kept["dataset"], kept["also_train_on"]) == (BASE, "alice/set", [])


# settings of folders here, and of what this run did that a repeated one must not do
UNPUBLISHED = "data_dir output_dir overwrite_output_dir resume push_to_hub hub_model_id hub_strategy hub_private_repo"


def test_every_other_setting_is_published(make_args):
    missing = vars(make_args()).keys() - yaml.safe_load(public_config(make_args())).keys()
    assert missing == set(UNPUBLISHED.split())
