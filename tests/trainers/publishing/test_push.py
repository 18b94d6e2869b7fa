"""Pushing a run to a Hub of the test's own, by the real clients: what arrives, who can load it, what goes wrong."""

import json
import re
import shutil

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, snapshot_download
from PIL import Image

from modeling_prompt_clip import cli
from modeling_prompt_clip.hub.remote_code import REMOTE_FILES
from modeling_prompt_clip.loading import load_model
from modeling_prompt_clip.retrieval import TextToImageEvaluator
from published import metrics_elsewhere
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.publishing import push_run

REPO = "alice/tiny-people"


@pytest.fixture
def run(tiny_run):
    """A finished run; tests must not change it."""
    return tiny_run


@pytest.fixture
def own_run(run, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(run, tmp_path / "own")


def state(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_what_arrives_and_that_the_run_stays_as_it_was(hub, run):
    before = state(run)
    pushed = push_run(run, REPO)
    files = hub.files("model", REPO)
    model = {path.name for path in (run / "model").iterdir()}
    curves = {"plots/loss.png", "plots/learning_rate.png", "plots/validation.png"}
    assert set(files) - {".gitattributes"} == model | set(REMOTE_FILES) | curves | {
        "README.md",
        "config.yaml",
        "results.json",
    }
    assert files["model.safetensors"] == (run / "model" / "model.safetensors").read_bytes()
    assert state(run) == before
    repository = hub.repository("model", REPO)
    assert repository.private and pushed.private
    assert (pushed.commit, pushed.url) == (repository.commits[-1].sha, f"{hub.url}/{REPO}")


BESIDE = (
    ".env",
    ".git/config",
    "notes.txt",
    "tokens.json",
    "optimizer.pt",
    "old.safetensors",
    "extra.py",
    "README.md",
)


@pytest.mark.parametrize("adapter_only", [False, True])
def test_what_lies_beside_the_model_stays_and_is_named(hub, own_run, adapter_only, capsys, caplog):
    settings = yaml.safe_load((own_run / "config.yaml").read_text()) | {"base_model": "alice/base"}
    (own_run / "config.yaml").write_text(yaml.safe_dump(settings))
    push_run(own_run, REPO, adapter_only=adapter_only)
    clean = hub.files("model", REPO)
    source = own_run / ("adapter" if adapter_only else "model")
    for name in BESIDE:
        (source / name).parent.mkdir(exist_ok=True)
        if not (source / name).exists():
            (source / name).write_text("secret")
    options = ["--adapter_only"] if adapter_only else []
    assert cli.main(["push", str(own_run), "--repo", REPO, "--json", *options]) == 0
    left_out = json.loads(capsys.readouterr().out)["left_out"]
    assert hub.files("model", REPO) == clean
    named = [".env", ".git/", *BESIDE[2:-1]]
    assert left_out == sorted(f"{source.name}/{name}" for name in named)
    assert all(f"{source.name}/{name}" in caplog.text for name in named)


@pytest.mark.parametrize(
    "name", ["model/vocab.json", "model/notes.txt", "model/config.json", "README.md", "results.json", "plots/loss.png"]
)
def test_a_link_that_leaves_the_run_is_refused(hub, own_run, tmp_path, name):
    (tmp_path / "secret").write_text("{}")
    (own_run / name).unlink(missing_ok=True)
    (own_run / name).symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match=rf"{name} is a link that leaves {own_run}.*Remove the link"):
        push_run(own_run, REPO)
    assert not hub.requests


def test_weights_in_shards_are_those_that_the_index_names(hub, own_run):
    folder = own_run / "model"
    model, processor = load_model(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="100KB")
    shards = {path.name for path in folder.glob("model-*.safetensors")}
    (folder / "model-00099-of-00099.safetensors").write_bytes(b"of another model")
    (folder / "model.safetensors").write_bytes(b"of another model")
    pushed = push_run(own_run, REPO)
    assert pushed.left_out == ("model/model-00099-of-00099.safetensors", "model/model.safetensors")
    there = {name for name in hub.files("model", REPO) if "safetensors" in name}
    assert len(shards) > 1 and there == shards | {"model.safetensors.index.json"}
    found = load_model(REPO)[0].state_dict()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "is no index of safetensors files"),
        ("[]", "is no index"),
        ('{"weight_map": {"a": "../../.env"}}', "names '../../.env'"),
        ('{"weight_map": {"a": ".env"}}', "names '.env'"),
        ('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}', "is not there"),
    ],
)
def test_an_index_that_is_damaged_or_names_other_files(hub, own_run, index, message):
    (own_run / "model" / ".env").write_text("secret")
    (own_run / "model" / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ValueError, match=message):
        push_run(own_run, REPO)
    assert not hub.requests


def test_a_model_without_weights_is_refused(hub, own_run):
    (own_run / "model" / "model.safetensors").rename(own_run / "model" / "old.safetensors")
    with pytest.raises(OSError, match="has no weights"):
        push_run(own_run, REPO)
    assert not hub.requests


def test_places_of_this_machine_stay_here(hub, run, tiny_clip_folder):
    push_run(run, REPO)
    settings = yaml.safe_load(hub.files("model", REPO)["config.yaml"])
    assert "output_dir" not in settings and "data_dir" not in settings
    assert settings["stage_two_learning_rate"] == 1e-3
    TwoStageTrainingArguments(**settings)


def test_who_repeats_the_run_does_not_push_it(hub, own_run):
    path = own_run / "config.yaml"
    once = {"push_to_hub": True, "hub_model_id": REPO, "resume": "auto"}
    once |= {"adapter": "alice/prompts", "stages": ["two"]}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | once))
    push_run(own_run, REPO)
    settings = yaml.safe_load(hub.files("model", REPO)["config.yaml"])
    assert not {"push_to_hub", "hub_model_id", "hub_strategy", "resume", "overwrite_output_dir"} & set(settings)
    assert settings["adapter"] == "alice/prompts"  # a name that others can use, as a place would not be


def test_a_stage_that_was_not_asked_for(hub, own_run):
    path = own_run / "config.yaml"
    settings = yaml.safe_load(path.read_text())
    for stages, adapter_only, missing, message in (
        (["one"], False, "model", "has no model; it has no stage two: set adapter_only"),
        (["two"], True, "adapter", "has no adapter; it has no stage one: leave adapter_only out"),
    ):
        adapter = "a/b" if stages == ["two"] else None
        path.write_text(yaml.safe_dump(settings | {"stages": stages, "base_model": "alice/base", "adapter": adapter}))
        shutil.rmtree(own_run / missing)
        with pytest.raises(OSError, match=message):
            push_run(own_run, REPO, adapter_only=adapter_only)


def test_the_card_says_how_to_load_and_what_was_measured(hub, run):
    push_run(run, REPO, license="mit")
    card = ModelCard(hub.files("model", REPO)["README.md"].decode())
    assert card.data.license == "mit" and card.data.library_name == "transformers"
    tested = next(row for row in json.loads((run / "results.json").read_text()) if row["split"] == "test")
    found = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert found == {name: round(tested["metrics"][name], 2) for name in ("R@1", "R@5", "R@10", "mAP", "mINP")}
    assert {result.dataset_split for result in card.data.eval_results} == {"test"}
    assert f'AutoModel.from_pretrained("{REPO}", trust_remote_code=True)' in card.text
    assert "must not be used for" in card.text and 'from_pretrained("model")' not in card.text


def test_figures_of_other_models_in_the_run_folder_are_not_the_models(hub, own_run):
    path = own_run / "results.json"
    rows = json.loads(path.read_text())
    tested = next(row for row in rows if row["split"] == "test" and row["direction"] == "text_to_image")
    direct = tested | {"method": "direct", "metrics": dict.fromkeys(tested["metrics"], 99.0)}  # as the demo adds it
    elsewhere = {name: value for name, value in direct.items() if name != "stage"} | {"data": "/home/alice/secret"}
    path.write_text(json.dumps([*rows, direct, elsewhere]))
    push_run(own_run, REPO)
    files = hub.files("model", REPO)
    results = ModelCard(files["README.md"].decode()).data.eval_results
    assert len(results) == 5 and 99.0 not in [result.metric_value for result in results]
    assert b"secret" not in files["results.json"] and b"secret" not in files["README.md"]


def test_a_reader_without_this_package_gets_the_test_metrics_of_the_run(hub, run, splits, tmp_path):
    push_run(run, REPO)
    rows = json.loads((run / "results.json").read_text())
    reported = next(row for row in rows if row["split"] == "test" and row["direction"] == "text_to_image")
    found = metrics_elsewhere(hub, REPO, splits["test"], tmp_path)
    assert found == pytest.approx({name: reported["metrics"][name] for name in found}, abs=1e-6)


def test_an_adapter_alone(hub, run, own_run, tiny_clip_folder):
    with pytest.raises(ValueError, match="which nobody else has; push the whole model"):
        push_run(own_run, REPO, adapter_only=True)
    settings = yaml.safe_load((own_run / "config.yaml").read_text()) | {"base_model": "alice/base"}
    (own_run / "config.yaml").write_text(yaml.safe_dump(settings))
    push_run(own_run, REPO, adapter_only=True)
    files = hub.files("model", REPO)
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(files)
    assert not set(REMOTE_FILES) & set(files) and "model.safetensors" not in files
    card = ModelCard(files["README.md"].decode())
    assert card.data.library_name == "peft" and card.data.base_model == "alice/base"
    assert not card.data.eval_results  # stage two was tested, not these prompts
    assert f'load_model("{REPO}")' in card.text
    # trained from a copy of the base on this machine, which is not what others are told
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "alice/base"
    assert str(tiny_clip_folder) not in "".join(content.decode(errors="ignore") for content in files.values())
    hub.add_repository("model", "alice/base", {path.name: path.read_bytes() for path in tiny_clip_folder.iterdir()})
    found, expected = (load_model(name)[0].state_dict() for name in (REPO, str(run / "adapter")))
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def test_a_second_push_changes_nothing_and_another_kind_replaces_the_first(hub, own_run):
    first = push_run(own_run, REPO)
    assert push_run(own_run, REPO) == first
    settings = yaml.safe_load((own_run / "config.yaml").read_text()) | {"base_model": "alice/base"}
    (own_run / "config.yaml").write_text(yaml.safe_dump(settings))
    push_run(own_run, REPO, adapter_only=True)
    assert not [name for name in hub.files("model", REPO) if name.endswith(".py") or name == "model.safetensors"]


@pytest.mark.parametrize(
    ("page", "status", "remedy"),
    [
        ("/api/repos/create", 401, "Log in"),
        ("/api/repos/create", 403, "write permission"),
        ("/_lfs/", 503, "later"),
        ("/commit/", 409, "Try again"),
        ("/commit/", 412, "Try again"),
        ("/batch$", 429, "Wait some minutes"),
        ("/commit/", 500, "The Hub has a fault"),
    ],
)
def test_a_refusal_is_one_line_and_the_next_push_works(hub, run, page, status, remedy):
    before = state(run)
    hub.fail(page, status=status, times=100)
    with pytest.raises(OSError, match=rf"^{REPO} cannot be pushed: HTTP status {status}.*{remedy}") as error:
        push_run(run, REPO)
    assert "\n" not in str(error.value) and hub.token not in str(error.value)
    hub.heal()
    push_run(run, REPO)
    assert "model.safetensors" in hub.files("model", REPO)
    assert state(run) == before


@pytest.mark.parametrize("status", [409, 412, 429, 500, 503])
def test_what_passes_is_waited_for(hub, run, status, caplog):
    hub.fail("/commit/", status=status, times=2, Retry_After="0")
    assert push_run(run, REPO).private
    assert caplog.text.count(f"the Hub answers with status {status}; next try in 0 s") == 2
    assert len(hub.requested("/_lfs/", "PUT")) == len({request.path for request in hub.requested("/_lfs/", "PUT")})


def test_a_missing_right_is_not_asked_for_again(hub, run):
    hub.fail("/commit/", status=403, times=100)
    with pytest.raises(OSError, match="HTTP status 403"):
        push_run(run, REPO)
    assert len(hub.requested("/commit/", "POST")) == 1


def test_a_connection_that_is_lost_midway(hub, run):
    hub.drop("/_lfs/", times=100)
    with pytest.raises(OSError, match="the connection to the Hub failed or was lost"):
        push_run(run, REPO)
    hub.heal()
    assert push_run(run, REPO).private


def test_who_sees_it(hub, run, caplog):
    hub.add_repository("model", "alice/open")
    with pytest.raises(ValueError, match="exists and is public.*--public"):
        push_run(run, "alice/open")
    assert len(hub.repository("model", "alice/open").commits) == 1
    assert not push_run(run, "alice/open", private=False).private
    assert not push_run(run, "alice/new", private=False).private
    push_run(run, REPO)
    assert push_run(run, REPO, private=False).private
    assert "it stays private" in caplog.text


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.yaml", "has no config.yaml; give the folder of a run"),
        ("model", "has no model; the run is not finished: resume it with --resume auto"),
        ("README.md", "has no README.md; the run is not finished"),
        ("model/config.json", "has no model/config.json; it has been removed"),
    ],
)
def test_what_is_no_finished_run(hub, own_run, missing, message):
    path = own_run / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(OSError, match=message):
        push_run(own_run, REPO)
    assert not hub.requests


@pytest.mark.parametrize("name", ["people", "a/b/c", "alice/.."])
def test_wrong_names(hub, run, name):
    with pytest.raises(ValueError, match=re.escape(name)):
        push_run(run, name)


def test_the_command_and_the_published_model(hub, run, splits, tmp_path, capsys):
    assert cli.main(["push", str(run), "--repo", REPO]) == 0
    assert re.fullmatch(rf"{run} is at {hub.url}/{REPO} \(private\), commit \w+\n", capsys.readouterr().out)
    assert cli.main(["push", str(run), "--repo", REPO, "--json", "--public"]) == 0
    assert json.loads(capsys.readouterr().out)["repo_id"] == REPO
    copy = snapshot_download(REPO, local_dir=tmp_path / "copy")
    model, processor = load_model(copy)
    rows = json.loads((tmp_path / "copy" / "results.json").read_text())
    reported = next(row for row in rows if row["split"] == "test" and row["direction"] == "text_to_image")
    found = TextToImageEvaluator(splits["test"], processor).by_direction(model)["text_to_image"].to_dict()
    assert found == reported["metrics"]
    with Image.open(tmp_path / "copy" / "plots" / "loss.png") as plot:
        assert plot.width > 100
