import random

import pytest

from benchmarks.stand_in.alt_text import describe_outfit, describe_parts, list_items, with_tail
from dataset_scripts.synthetic import person_attributes, render_person, sample_attributes
from dataset_scripts.synthetic.words.grammar import describe_pedestrian
from dataset_scripts.synthetic.words.lexicon import THING_WORDS, with_article

PARTS = ("upper", "lower", "shoes", "hat", "bag", "held", "glasses", "hair", "pattern", "inner")


@pytest.fixture(scope="module")
def shots():
    return [(person_attributes(3, person), shot) for person in range(120) for shot in render_person(3, person)]


def test_captions_name_only_what_is_visible(shots, mentions):
    for _, shot in shots:
        for caption in shot.captions:
            assert set(mentions(caption)) <= set(shot.visible), (caption, shot.visible)


def test_captions_name_the_right_things(shots, mentions):
    for look, shot in shots:
        worn = {look.upper, look.lower, look.bag, look.hat, look.held, "shoes", "glasses", "pattern", "inner", "hair"}
        for caption in shot.captions:
            assert {thing for thing, _ in mentions(caption).values()} <= worn, caption


def test_captions_name_the_right_colours(shots, mentions, ends_with_colour):
    checked = 0
    for look, shot in shots:
        colours = {
            "lower": look.lower_colour,
            "shoes": look.shoe_colour,
            "hat": look.hat_colour,
            "bag": look.bag_colour,
            "held": look.held_colour if look.held == "umbrella" else None,
            "upper": None if "pattern" in shot.visible else look.upper_colour,
        }
        for caption in shot.captions:
            for part, (_, before) in mentions(caption).items():
                if colours.get(part):
                    assert ends_with_colour(before, colours[part]), (caption, part, colours[part])
                    checked += 1
    assert checked > 1000


def test_hair_is_described_as_it_is(shots):
    for look, shot in shots:
        for caption in shot.captions:
            if "hair" in caption:
                assert f"{look.hair_colour} hair" in caption
            other = "long" if look.hair_length == "short" else "short"
            assert f"{other} {look.hair_colour} hair" not in caption


def test_captions_vary_and_fit_the_context(shots):
    captions = [caption for _, shot in shots for caption in shot.captions]
    assert len(set(captions)) > 0.95 * len(captions)
    assert max(len(caption.split()) for caption in captions) < 60
    assert all(caption.endswith(".") and "  " not in caption for caption in captions)


def test_every_visible_part_is_named_sometimes(shots, mentions):
    named = {part for _, shot in shots for caption in shot.captions for part in mentions(caption)}
    assert named == set(PARTS)


def test_a_caption_needs_something_to_wear():
    look = sample_attributes(random.Random(0))
    with pytest.raises(ValueError, match="upper garment"):
        for _ in range(50):
            describe_pedestrian(look, {"hair"}, random.Random(1))


@pytest.mark.parametrize("describe", [describe_outfit, list_items])
def test_alt_texts_name_only_what_is_visible(describe, mentions):
    rng = random.Random(5)
    for _ in range(400):
        look = sample_attributes(rng)
        owned = {"upper", "shoes", "hair"} | {part for part in ("bag", "hat", "held", "lower") if getattr(look, part)}
        visible = {part for part in sorted(owned) if rng.random() < 0.6}
        assert set(mentions(describe(look, visible, rng))) <= visible


def test_part_names_come_in_order(mentions):
    look = sample_attributes(random.Random(2))
    names = describe_parts(look, {"shoes", "upper"}, random.Random(0))
    assert [next(iter(mentions(name))) for name in names] == ["upper", "shoes"]


def test_tail_keeps_or_replaces_the_text():
    rng = random.Random(0)
    texts = [with_tail("red coat", rng, noise=0.1) for _ in range(500)]
    assert 0.05 < sum(not text.startswith("red coat") for text in texts) / len(texts) < 0.15
    assert any(text == "red coat" for text in texts)


@pytest.mark.parametrize(("phrase", "expected"), [("orange coat", "an orange coat"), ("red coat", "a red coat")])
def test_article(phrase, expected):
    assert with_article(phrase) == expected


def test_no_word_names_two_things():
    words = [word for names in THING_WORDS.values() for word in names]
    assert len(words) == len(set(words))
