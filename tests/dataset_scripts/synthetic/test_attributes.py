import random
from collections import Counter

from dataset_scripts.synthetic import PersonAttributes, sample_attributes
from dataset_scripts.synthetic.attributes import PALETTE


def _many(count: int = 2000) -> list[PersonAttributes]:
    rng = random.Random(0)
    return [sample_attributes(rng) for _ in range(count)]


def test_the_same_state_gives_the_same_person():
    assert sample_attributes(random.Random(3)) == sample_attributes(random.Random(3))
    assert sample_attributes(random.Random(3)) != sample_attributes(random.Random(4))


def test_people_are_consistent():
    for look in _many():
        assert (look.lower is None) == (look.upper == "dress") == (look.lower_colour is None)
        assert look.pattern_colour != look.upper_colour
        assert look.inner_colour != look.upper_colour
        colours = (look.upper_colour, look.shoe_colour, look.bag_colour, look.hat_colour, look.held_colour)
        assert set(colours) <= set(PALETTE)


def test_people_differ():
    looks = Counter(_many())
    assert looks.most_common(1)[0][1] == 1


def test_shares_follow_the_weights():
    looks = _many()
    assert abs(sum(look.bag is None for look in looks) / len(looks) - 0.40) < 0.04
    assert abs(sum(look.glasses for look in looks) / len(looks) - 0.28) < 0.04
