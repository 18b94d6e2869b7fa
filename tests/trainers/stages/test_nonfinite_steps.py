import json

import pytest
import torch

from trainers.stages.nonfinite_steps import NonfiniteSteps

IMAGES = torch.tensor([1, 0])


def steps(pattern: str, most: int, report, **options):
    """Bad steps where the pattern has an x."""
    bad_steps = NonfiniteSteps("one", most, report, **options)
    for number, mark in enumerate(pattern, start=1):
        bad_steps.add(number, torch.tensor(mark != "x"), IMAGES)
    return bad_steps


@pytest.mark.parametrize(("pattern", "skipped"), [("", 0), ("....", 0), ("x.x.x", 3), ("xx.xx.", 4)])
def test_steps_are_counted_once(tmp_path, pattern, skipped):
    bad_steps = steps(pattern, 3, tmp_path / "bad.json")
    assert bad_steps.read() == bad_steps.read() == bad_steps.skipped == skipped
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("pattern", "first"), [("xxx", 1), ("xx.xxx", 4), (".xxx..", 2), ("..xxx.", 3)])
def test_a_run_of_bad_steps_is_found_wherever_it_begins_and_ends(tmp_path, pattern, first):
    with pytest.raises(ValueError, match=f"stage one: .* 3 steps in a row .*, {first} to {first + 2}"):
        steps(pattern, 3, tmp_path / "bad.json", image_names=["a.png", "b.png"]).read()
    batches = [{"step": first + offset, "image_ids": ["b.png", "a.png"]} for offset in range(3)]
    assert json.loads((tmp_path / "bad.json").read_text()) == {"stage": "one", "batches": batches}


def test_it_is_found_at_most_as_many_steps_late(tmp_path):
    bad_steps = steps(".xxx.", 3, tmp_path / "bad.json")
    with pytest.raises(ValueError, match="2 to 4"):
        bad_steps.add(6, torch.tensor(True), IMAGES)


def test_the_count_in_a_row_goes_on_with_the_run(tmp_path):
    earlier = steps("x.xx", 3, tmp_path / "bad.json").state()
    later = NonfiniteSteps("one", 3, tmp_path / "bad.json")
    later.load_state(json.loads(json.dumps(earlier)))
    assert later.read() == 3
    later.add(5, torch.tensor(False), torch.tensor([4]))
    with pytest.raises(ValueError, match="3 to 5"):
        later.read()
    batches = json.loads((tmp_path / "bad.json").read_text())["batches"]
    assert batches == [{"step": step, "image_ids": ids} for step, ids in ((3, [1, 0]), (4, [1, 0]), (5, [4]))]


def test_the_first_bad_step_can_stop_the_run(tmp_path):
    with pytest.raises(ValueError, match="1 to 1"):
        steps("x", 1, tmp_path / "bad.json")


@pytest.mark.parametrize(("most", "error"), [(0, ValueError), (2.5, TypeError)])
def test_a_bound_below_one_is_refused(tmp_path, most, error):
    with pytest.raises(error, match=f"max_bad_steps is {most}"):
        NonfiniteSteps("one", most, tmp_path / "bad.json")
