import math

import numpy as np
import pytest

from dataset_scripts.common.numbers import check_integer, check_number


@pytest.mark.parametrize(
    ("bounds", "good", "bad"),
    [
        ({"above": 0}, [1e-9, 1, 2.5], [0, -1]),
        ({"least": 0, "below": 1}, [0, 0.99], [-0.01, 1]),
        ({"least": 0.5, "most": 0.5}, [0.5], [0.4, 0.6]),
        ({}, [-1e300, 0, np.float32(3)], []),
    ],
)
def test_bounds_are_kept(bounds: dict[str, float], good: list[float], bad: list[float]):
    for value in good:
        check_number("x", value, **bounds)
    for value in [*bad, math.nan, math.inf, -math.inf, np.float32(np.inf), 10**400, 10**5000]:
        with pytest.raises(ValueError, match="x is"):
            check_number("x", value, **bounds)


@pytest.mark.parametrize("value", ["1", None, True, [1]])
def test_what_is_no_number_is_a_type_error(value: object):
    with pytest.raises(TypeError, match="rate is .* a finite number above 0 and at most 1"):
        check_number("rate", value, above=0, most=1)
    with pytest.raises(TypeError, match="count is .* an integer, at least 2"):
        check_integer("count", value, least=2)


def test_integers_have_a_least_value():
    check_integer("count", 2, least=2)
    check_integer("count", np.int64(3), least=2)
    with pytest.raises(ValueError, match="count is 1"):
        check_integer("count", 1, least=2)
    with pytest.raises(TypeError, match="count is 2.0"):
        check_integer("count", 2.0, least=2)
