import json

import datasets
import pytest
from PIL import Image

import trainers.commands.evaluate
import trainers.run_folder.evaluated_data
from modeling_prompt_clip import cli
from modeling_prompt_clip.loading import load_model
from modeling_prompt_clip.retrieval import KnnCorrection, TextToImageEvaluator
from trainers.arguments.settings import TwoStageTrainingArguments


@pytest.fixture(autouse=True)
def blank_figures() -> None:
    """Here figures are rendered."""


@pytest.fixture(scope="module")
def loaded(tiny_folder):
    return load_model(tiny_folder)


@pytest.fixture(scope="module")
def people():
    images = [Image.new("RGB", (48, 144), (20 * number, 255 - 20 * number, 128)) for number in range(10)]
    captions = [[f"person {number} in grey", f"number {number}"] for number in range(10)]
    columns = {"image": images, "person_id": [number // 2 for number in range(10)], "captions": captions}
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())


@pytest.fixture(autouse=True)
def calls(monkeypatch, loaded, people):
    """What the loaders were called with."""
    made = {}

    def spy_on_load_model(name_or_path, *, image_size=None, device=None):
        made["model"] = (name_or_path, image_size, device)
        return loaded

    def spy_on_load_person_search(name, data_dir=None, split="train", **options):
        made["data"] = (name, data_dir and str(data_dir), split, *options.items())
        return people

    monkeypatch.setattr(trainers.commands.evaluate, "load_model", spy_on_load_model)
    monkeypatch.setattr(trainers.commands.evaluate, "load_person_search", spy_on_load_person_search)
    return made


@pytest.fixture
def expected(loaded, people):
    model, processor = loaded
    metrics = TextToImageEvaluator(people, processor).by_direction(model)
    return {direction: each.to_dict() for direction, each in metrics.items()}


def test_the_table_has_both_directions_and_the_protocol(calls, expected, capsys):
    assert trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("M at 96x32 on cuhk_pedes, validation: 5 persons, 10 images, 20 captions\n\n")
    for direction, metrics in expected.items():
        line = next(line for line in out.splitlines() if line.startswith(direction.replace("_", " ")))
        assert f"{metrics['mAP']:.2f}" in line.split()
    assert "\nProtocol: every caption queries all images of the split; relevant = same person_id" in out


def test_the_test_split_is_used_only_when_named(calls):
    trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes"])
    assert calls == {"data": ("cuhk_pedes", None, "validation"), "model": ("M", None, None)}
    trainers.commands.evaluate.main(
        "M --data cuhk_pedes --split test --data_dir D --image_size 64 32 --device cpu --batch_size 3".split()
    )
    assert calls == {"data": ("cuhk_pedes", "D", "test"), "model": ("M", (64, 32), "cpu")}


def test_a_folder_alone_is_found_out_about(calls, tmp_path, capsys):
    trainers.commands.evaluate.main(["M", "--data", str(tmp_path), "--split", "test"])
    assert calls["data"] == ("auto", str(tmp_path), "test")
    assert capsys.readouterr().out.startswith(f"M at 96x32 on {tmp_path}, test:")
    trainers.commands.evaluate.main(["M", "--data", "me/people"])
    assert calls["data"] == ("me/people", None, "validation")


def test_json_and_output_hold_the_same_rows(expected, tmp_path, capsys):
    folder = tmp_path / "new" / "results"
    assert trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", "--json", "--output", str(folder)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["direction"]: row["metrics"] for row in rows} == expected
    for row in rows:
        assert (row["method"], row["data"], row["split"], row["image_size"]) == (
            "M",
            "cuhk_pedes",
            "validation",
            [96, 32],
        )
    assert json.loads((folder / "results.json").read_text()) == rows
    with Image.open(folder / "ranked_strips.png") as strips:
        assert strips.height > 8 * 200


def test_other_ranks_are_asked_for_by_ks(expected, capsys):
    arguments = ["M", "--data", "cuhk_pedes", "--compare", "M", "--rerank", "knn", "--ks", "20", "1", "2"]
    assert trainers.commands.evaluate.main([*arguments, "--json"]) == 0
    for row in json.loads(capsys.readouterr().out):
        metrics = row["metrics"]
        assert list(metrics)[:5] == list(row["intervals"]) == ["R@1", "R@2", "R@20", "mAP", "mINP"]
        assert (
            list(row["compared_with"]["differences"])
            == list(row["reranked"]["knn"]["metrics"])[:5]
            == list(metrics)[:5]
        )
        assert {name: metrics[name] for name in ("R@1", "mAP")}.items() <= expected[row["direction"]].items()
        assert metrics["R@1"] <= metrics["R@2"] <= metrics["R@20"] == 100.0  # of 20 captions or 10 images
    trainers.commands.evaluate.main(arguments)
    assert "R@1    R@2    R@20    mAP   mINP" in capsys.readouterr().out


@pytest.mark.parametrize("ks", ["1 1", "5 0"])
def test_ranks_that_are_none_are_refused_before_anything_is_loaded(calls, ks):
    with pytest.raises((ValueError, SystemExit)):
        trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", "--ks", *ks.split()])
    assert not calls


def test_the_results_of_a_run_are_added_to(tmp_path):
    results = tmp_path / "results.json"
    results.write_text('[{"by": "hand"}]')
    trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", "--output", str(tmp_path)])
    assert [row.get("direction") for row in json.loads(results.read_text())] == [
        None,
        "text_to_image",
        "image_to_text",
    ]


def test_pages_are_drawn_and_can_be_looked_at(tmp_path):
    arguments = ["--output", str(tmp_path), "--false_alarm_rate", "10"]
    trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", *arguments])
    names = {path.name for path in tmp_path.glob("*.png")}
    strips = {f"ranked_{kind}.png" for kind in ("strips", "best", "median", "worst")}
    assert names == strips | {"match_rates.png", "precision_recall.png", "scores.png"}
    for name in names:
        with Image.open(tmp_path / name) as page:
            assert len(page.convert("L").getcolors()) > 20


def test_a_model_is_no_better_than_itself(capsys):
    assert trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", "--compare", "M"]) == 0
    assert "M minus M (both at 96x32), text to image: R@1 +0.00 (+0.00 to +0.00)" in capsys.readouterr().out
    trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", "--compare", "M", "--json"])
    for row in json.loads(capsys.readouterr().out):
        compared = row["compared_with"]
        assert compared["method"] == "M" and set(compared["differences"].values()) == {0.0}
        assert compared["gained_person_ids"] == compared["lost_person_ids"] == []


def test_reranked_figures_stand_apart(expected, loaded, people, capsys):
    model, processor = loaded
    arguments = ["--rerank", "knn", "M", "--data", "cuhk_pedes", "--rerank", "k_reciprocal"]
    assert trainers.commands.evaluate.main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["direction"]: row["metrics"] for row in rows} == expected
    evaluator = TextToImageEvaluator(people, processor)
    corrected = evaluator.query_values(evaluator.encode(model), rerank=KnnCorrection())
    for row in rows:
        assert "no re-ranking" in row["protocol"]
        assert list(row["reranked"]) == ["knn", "k_reciprocal"]
        knn = row["reranked"]["knn"]
        assert knn["settings"] == {"k": 32, "weight": 0.75}
        assert knn["metrics"] == corrected[row["direction"]].mean().to_dict()
        assert knn["metrics"]["mAP"] != row["metrics"]["mAP"]
        difference = knn["metrics"]["mAP"] - row["metrics"]["mAP"]
        assert knn["minus_plain"]["differences"]["mAP"] == pytest.approx(difference)
        low, high = knn["intervals"]["mAP"]
        assert low <= knn["metrics"]["mAP"] <= high
    trainers.commands.evaluate.main(arguments)
    plain, apart = capsys.readouterr().out.split("\nOutside the protocol: ")
    assert f"{expected['text_to_image']['mAP']:.2f}" in plain and "knn" not in plain
    line = next(line for line in apart.splitlines() if line.startswith("knn, image to text "))
    assert f"{corrected['image_to_text'].mean().mean_average_precision:.2f}" in line.split()
    assert "\nk_reciprocal (k1=20, k2=6, original_weight=0.3) minus plain, text to image: R@1 " in apart


def test_nothing_is_reranked_unless_asked_for(capsys):
    trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", "--json"])
    assert not any("reranked" in row for row in json.loads(capsys.readouterr().out))
    trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes"])
    assert "Outside the protocol" not in capsys.readouterr().out


def test_groups_by_a_column(monkeypatch, people, capsys):
    cameras = people.add_column("camera", ["a", "b", None] * 3 + ["a"])
    monkeypatch.setattr(trainers.commands.evaluate, "load_person_search", lambda *args, **options: cameras)
    trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", "--by", "camera", "--json"])
    row = json.loads(capsys.readouterr().out)[0]
    assert {name: group["queries"] for name, group in row["groups"].items()} == {
        "camera a": 8,
        "camera b": 6,
        "camera unknown": 6,
    }
    mean = sum(group["queries"] * group["mAP"] for group in row["groups"].values()) / 20
    assert mean == pytest.approx(row["metrics"]["mAP"])
    trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", "--by", "camera"])
    assert "camera unknown" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("column", "problem"), [("camra", "has the columns image, person_id, captions"), ("captions", "holds lists")]
)
def test_columns_that_group_nothing_are_refused_before_a_model_is_loaded(calls, column, problem):
    with pytest.raises(ValueError, match=f"by is '{column}'.*{problem}"):
        trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", "--by", column])
    assert "model" not in calls


@pytest.mark.parametrize("rate", ["-1", "100", "nan", "inf"])
def test_shares_of_false_alarms_are_checked_before_a_model_is_loaded(calls, rate):
    with pytest.raises(ValueError, match="false_alarm_rate is .*from 0 to below 100 percent"):
        trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", f"--false_alarm_rate={rate}"])
    assert "model" not in calls


@pytest.mark.parametrize("option", ["--num_workers=5000", "--num_workers=-1", "--batch_size=99999999", "--ks=0"])
def test_sizes_that_no_machine_has_are_refused(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", option])
    assert f"argument {option.partition('=')[0]}: " in capsys.readouterr().err


def test_a_comparison_names_the_settings_in_which_the_runs_differ(monkeypatch, capsys):
    common = {"base_model": "stand-in", "output_dir": "there"}
    runs = {
        "A": TwoStageTrainingArguments(**common, seed=1),
        "B": TwoStageTrainingArguments(**common, seed=2, direct=True, log_steps=7),
    }
    for module in (trainers.commands.evaluate, trainers.run_folder.evaluated_data):
        monkeypatch.setattr(module, "settings_of_model", lambda name: (name, runs[name]) if name in runs else None)
    trainers.commands.evaluate.main(["A", "--compare", "B"])
    said = capsys.readouterr().out
    assert "Settings of A and B: stages ['one', 'two'] and ['two']; direct False and True; seed 1 and 2\n" in said
    trainers.commands.evaluate.main(["A", "--compare", "A", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["compared_with"]["settings"] == {}
    trainers.commands.evaluate.main(["A", "--compare", "M", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["compared_with"]["settings"] is None


def test_open_set_threshold_comes_from_validation(monkeypatch, calls, people, capsys):
    splits = []

    def spy(name, data_dir=None, split="train"):
        splits.append(split)
        return people

    monkeypatch.setattr(trainers.commands.evaluate, "load_person_search", spy)
    trainers.commands.evaluate.main("M --data cuhk_pedes --split test --false_alarm_rate 20 --json".split())
    assert splits == ["test", "validation"]
    found = json.loads(capsys.readouterr().out)[0]["open_set"]
    assert 0 < found["false_alarm_rate"] <= 20 and 0 <= found["miss_rate"] <= 100
    trainers.commands.evaluate.main("M --data cuhk_pedes --split test --false_alarm_rate 20".split())
    assert f"need a score of {found['threshold']:.4f} (set on validation)" in capsys.readouterr().out
    trainers.commands.evaluate.main("M --data cuhk_pedes --false_alarm_rate 20".split())
    assert "(set on this very split)" in capsys.readouterr().out


def test_a_run_is_evaluated_on_the_splits_that_it_was_trained_with(calls):
    options = '{"validation_share": 0.1}'
    trainers.commands.evaluate.main(["M", "--data", "icfg_pedes", "--data_dir", "D", "--dataset_options", options])
    assert calls["data"] == ("icfg_pedes", "D", "validation", ("validation_share", 0.1))
    with pytest.raises(ValueError, match="dataset_options is 'x', which is not JSON"):
        trainers.commands.evaluate.main(["M", "--data", "icfg_pedes", "--dataset_options", "x"])


def test_ties_are_named_in_the_protocol(capsys):
    shown = {}
    for ties in ("pessimistic", "optimistic", "expected"):
        trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", "--ties", ties, "--json"])
        row = json.loads(capsys.readouterr().out)[0]
        shown[ties] = row["protocol"]
        low, high = row["intervals"]["R@1"]
        assert low <= row["metrics"]["R@1"] <= high and row["interval_level"] == 0.95
    assert "ties resolved pessimistically" in shown["pessimistic"]
    assert "ties resolved optimistically" in shown["optimistic"]
    assert "ties resolved in expectation" in shown["expected"]


@pytest.mark.parametrize(
    ("content", "problem"), [("[{", "is no JSON"), ('{"a": 1}', "is {'a': 1}, but must be a list")]
)
def test_other_results_are_not_overwritten(calls, tmp_path, content, problem):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=rf"results\.json {problem}"):
        trainers.commands.evaluate.main(["M", "--data", "cuhk_pedes", "--output", str(tmp_path)])
    assert calls == {}
    assert (tmp_path / "results.json").read_text() == content


@pytest.mark.parametrize(
    "arguments",
    [
        ["M"],
        ["--data", "cuhk_pedes"],
        ["M", "--data", "cuhk_pedes", "--split", "dev"],
        ["M", "--data", "x", "--image_size", "0", "1"],
        ["M", "--data", "x", "--rerank", "luck"],
    ],
)
def test_wrong_use_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        trainers.commands.evaluate.main(arguments)
    assert exit.value.code == 2
    assert capsys.readouterr().err.startswith("usage: prompt-clip evaluate")


def test_a_model_and_its_run_folder_give_the_same(monkeypatch, tiny_folder, people, expected, tmp_path, capsys):
    monkeypatch.undo()
    monkeypatch.setattr(trainers.commands.evaluate, "load_person_search", lambda *args, **options: people)
    (tmp_path / "model").symlink_to(tiny_folder)
    for folder in (tiny_folder, tmp_path):
        assert cli.main(["evaluate", str(folder), "--data", "cuhk_pedes", "--json"]) == 0
        out, err = capsys.readouterr()
        assert {row["direction"]: row["metrics"] for row in json.loads(out)} == expected
        assert err == ""


def test_a_missing_model_is_one_line(monkeypatch, people, capsys):
    monkeypatch.undo()
    monkeypatch.setattr(trainers.commands.evaluate, "load_person_search", lambda *args, **options: people)
    assert cli.main(["evaluate", "no/such/model folder", "--data", "cuhk_pedes"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("prompt-clip evaluate: error: ")
    assert "'no/such/model folder'" in err
    assert err.count("\n") == 1


def test_an_unknown_data_set_is_one_line(monkeypatch, capsys):
    monkeypatch.undo()
    assert cli.main(["evaluate", "M", "--data", "cuhk_pede"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("prompt-clip evaluate: error: name is 'cuhk_pede'")
    assert err.count("\n") == 1
