import pytest
import yaml

from trainers.configs.recipes import parse_arguments, read_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_valid(name):
    args = parse_arguments(["--config", name])
    assert args.dataset == read_recipe(name)["dataset"]


def test_the_command_line_overrides_the_recipe():
    args = parse_arguments(
        ["--config", "cuhk_pedes", "--stage_two_learning_rate", "3e-5", "--image_size", "256", "128"]
    )
    assert args.stage_two_learning_rate == 3e-5
    assert args.image_size == [256, 128]
    assert args.stage_two_objectives == {"sdm": 1.0, "id": 1.0}


def test_a_recipe_file_and_every_kind_of_value(tmp_path):
    recipe = {
        "stage_one_learning_rate": "1e-3",  # written without quotes: YAML 1.1 reads it as text
        "stage_two_objectives": {"itc": 2},
        "dataset_options": {"seed": 3},
        "direct": True,
        "prompt_layers": [0, 1],
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(recipe))
    args = parse_arguments(["--config", str(path)])
    assert args.stage_one_learning_rate == 1e-3
    assert args.stage_two_objectives == {"itc": 2.0}
    assert args.dataset_options == {"seed": 3}
    assert args.direct and args.prompt_layers == [0, 1]


def test_mappings_on_the_command_line():
    args = parse_arguments(["--stage_two_objectives", "sdm=1,id=.5", "--dataset_options", '{"seed": 1}'])
    assert args.stage_two_objectives == {"sdm": 1.0, "id": 0.5}
    assert args.dataset_options == {"seed": 1}


def test_lists_and_switches_on_the_command_line(capsys):
    args = parse_arguments(["--also_train_on", "icfg_pedes=D", "me/people", "--clean_captions", "false"])
    assert args.also_train_on == ["icfg_pedes=D", "me/people"]
    assert args.clean_captions is False
    assert parse_arguments([]).clean_captions is True
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    assert "--no_clean_captions" not in (shown := capsys.readouterr().out) and "--no_test" in shown


def test_an_unknown_option_exits_with_2_and_the_nearest(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_arguments(["--stage_two_learning_rat", "1e-5"])
    assert stop.value.code == 2
    assert "did you mean --stage_two_learning_rate?" in capsys.readouterr().err


def test_an_unknown_key_of_a_recipe_names_the_nearest(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("batchsize: 3\n")
    with pytest.raises(ValueError, match="unknown key 'batchsize'; did you mean batch_size"):
        parse_arguments(["--config", str(path)])


@pytest.mark.parametrize("text, message", [("- a\n- b\n", "mapping of settings"), ("a: [", "no YAML")])
def test_a_recipe_that_is_no_mapping(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_recipe(str(path))


def test_a_recipe_that_does_not_exist_names_those_that_do():
    with pytest.raises(OSError, match="did you mean cuhk_pedes"):
        read_recipe("cuhk_pedez")


def test_without_a_recipe_the_synthetic_one_is_read_unless_a_data_set_is_named():
    assert parse_arguments([]) == parse_arguments(["--config", "synthetic_pedes"])
    assert parse_arguments(["--dataset", "cuhk_pedes"]).image_size == [384, 128]


def test_a_base_model_that_nobody_named_is_announced(caplog, tmp_path):
    assert parse_arguments(["--dataset", "cuhk_pedes"]).base_model == "stand-in"
    assert "neither --base_model nor --config is named: training starts from 'stand-in'" in caplog.text
    caplog.clear()
    assert parse_arguments(["--dataset", "cuhk_pedes", "--base_model", "alice/clip"]).base_model == "alice/clip"
    assert parse_arguments([]).base_model == "stand-in"
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("seed: 0\n")
    assert parse_arguments(["--config", str(recipe)]).base_model is None  # which the trainer refuses
    assert not caplog.text


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_names_a_base_model(name):
    assert read_recipe(name)["base_model"]


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_arguments(["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert "accelerate launch -m trainers.two_stage --config cuhk_pedes" in text
    assert "Peak learning rate of the prompts." in text
