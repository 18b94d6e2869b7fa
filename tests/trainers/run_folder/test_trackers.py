import pytest
from accelerate import tracking
from accelerate.utils import LoggerType

from trainers import TwoStageTrainer
from trainers.run_folder.trackers import trackers


@pytest.fixture(autouse=True)
def two_are_installed(monkeypatch):
    installed = [LoggerType.TENSORBOARD, LoggerType.WANDB]
    monkeypatch.setattr(tracking, "_available_trackers", installed)


@pytest.mark.parametrize(
    "report_to, names",
    [
        ("none", []),
        ("all", ["tensorboard", "wandb"]),
        ("wandb", ["wandb"]),
        ("tensorboard, wandb", ["tensorboard", "wandb"]),
    ],
)
def test_names(report_to, names):
    assert trackers(report_to) == names


@pytest.mark.parametrize(
    "report_to, message",
    [
        ("wandbb", "names 'wandbb'; it takes aim, .*wandb, or 'all' or 'none' by itself.*wandb"),
        ("tensorboard,none", "names 'none'; it takes"),
        ("comet_ml", "names 'comet_ml', which is not installed: pip install comet-ml"),
        ("", "names ''"),
    ],
)
def test_what_accelerate_would_leave_out_is_refused(report_to, message):
    with pytest.raises(ValueError, match=message):
        trackers(report_to)


def test_a_tracker_of_one_s_own_may_be_registered(monkeypatch):
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "mine", tracking.GeneralTracker)
    assert trackers("mine") == ["mine"]


def test_a_run_is_refused_before_it_starts(make_args, splits, tmp_path):
    with pytest.raises(ValueError, match="report_to names 'mlflow', which is not installed"):
        TwoStageTrainer(make_args(report_to="mlflow"), splits=splits)
    assert not (tmp_path / "run").exists()
