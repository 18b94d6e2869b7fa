import argparse

import pytest

from dataset_scripts.common.parsers.shared import add_model_arguments


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    add_model_arguments(parser)
    return parser


def test_the_defaults_and_good_values(parser):
    assert vars(parser.parse_args(["m"])) == {"model": "m", "batch_size": 64, "device": None}
    args = parser.parse_args(["m", "--batch_size", "7", "--device", "cpu"])
    assert (args.batch_size, args.device) == (7, "cpu")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--batch_size", "0"),
        ("--batch_size", "-3"),
        ("--batch_size", "2.5"),
        ("--device", "gpu"),
        ("--device", "cuda:99"),
    ],
)
def test_a_bad_value_is_wrong_use(parser, option, value, capsys):
    with pytest.raises(SystemExit) as exit:
        parser.parse_args(["m", option, value])
    assert exit.value.code == 2
    assert f"argument {option}: {value!r}" in capsys.readouterr().err
