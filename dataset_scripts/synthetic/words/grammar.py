"""Captions of the street domain: how a witness would describe a picture."""

import random
from collections.abc import Collection, Sequence

from dataset_scripts.synthetic.attributes import PersonAttributes
from dataset_scripts.synthetic.words.lexicon import with_article
from dataset_scripts.synthetic.words.phrases import Phrases

__all__ = ["describe_pedestrian"]

_SUBJECTS = ("a person", "the person", "a pedestrian", "this person", "someone", "the pedestrian", "an individual")
_PRONOUNS = ("the person", "he or she")


def _listed(rng: random.Random, items: Sequence[str]) -> str:
    if len(items) == 1:
        return items[0]
    return ", ".join(items[:-1]) + rng.choice((" and ", ", and ", " along with ")) + items[-1]


def _worn(phrases: Phrases, look: PersonAttributes, visible: Collection[str], rng: random.Random) -> list[str]:
    """Some of the visible clothes with their articles; at least one."""
    upper = with_article(phrases.upper()) if "upper" in visible else None
    chosen = [upper] if upper and rng.random() < 0.93 else []
    if "lower" in visible and rng.random() < 0.85:
        lower = phrases.lower()
        chosen.append(with_article(lower) if look.lower == "skirt" else rng.choice(("", "a pair of ")) + lower)
    if "shoes" in visible and rng.random() < 0.5:
        chosen.append(phrases.shoes())
    if not chosen:
        if upper is None:
            raise ValueError(
                f"visible parts {sorted(visible)} hold no upper garment: a caption needs one; show the trunk"
            )
        chosen.append(upper)
    if rng.random() < 0.3:
        rng.shuffle(chosen)
    return chosen


def _accessories(phrases: Phrases, visible: Collection[str], rng: random.Random) -> list[str]:
    chosen = []
    if "hat" in visible and rng.random() < 0.75:
        chosen.append(with_article(phrases.hat()))
    if "glasses" in visible and rng.random() < 0.5:
        chosen.append(phrases.glasses())
    return chosen


def _burdens(phrases: Phrases, visible: Collection[str], rng: random.Random) -> list[str]:
    chosen = []
    if "bag" in visible and rng.random() < 0.75:
        chosen.append(f"carrying {with_article(phrases.bag())}")
    if "held" in visible and rng.random() < 0.8:
        chosen.append(f"holding {with_article(phrases.held())}")
    return chosen


def _opening(rng: random.Random, hair: str | None, worn: list[str], accessories: list[str]) -> list[str]:
    """Build the first sentence or two; removes what it names from `accessories`."""
    subject = rng.choice(_SUBJECTS)
    whose = f"{subject} with {hair}" if hair else subject
    form = rng.random()
    if form < 0.4:
        if rng.random() < 0.5:
            worn = worn + accessories
            accessories.clear()
        return [whose + rng.choice((" is wearing ", " wears ", " is dressed in ", " has on ")) + _listed(rng, worn)]
    if form < 0.7:
        manner = rng.choice(("wearing ", "dressed in ", "in "))
        motion = rng.choice((" walks along the street", " is walking", " stands there", " is walking forward"))
        return [f"{manner}{_listed(rng, worn)}, {whose}{motion}"]
    sentences = [subject + rng.choice((" is walking in ", " walking in ", " seen in ")) + _listed(rng, worn)]
    if hair:
        sentences.append(f"{rng.choice(_PRONOUNS)} has {hair}")
    return sentences


def describe_pedestrian(look: PersonAttributes, visible: Collection[str], rng: random.Random) -> str:
    """A caption of one to four sentences that names only visible parts.

    Args:
        look: the person's attributes.
        visible: names of the parts that the picture shows; "upper" must be among them.
        rng: chooses parts, words and the form of the sentences.

    Raises ValueError: nothing that is worn is visible.
    """
    phrases = Phrases(look, visible, rng)
    hair = phrases.hair() if "hair" in visible and rng.random() < 0.55 else None
    worn = _worn(phrases, look, visible, rng)
    accessories = _accessories(phrases, visible, rng)
    burdens = _burdens(phrases, visible, rng)
    sentences = _opening(rng, hair, worn, accessories)
    if accessories:
        verb = rng.choice((" is also wearing ", " has ", " also wears "))
        sentences.append(rng.choice(_PRONOUNS) + verb + _listed(rng, accessories))
    if burdens:
        if rng.random() < 0.5:
            sentences[-1] += ", " + " and ".join(burdens)
        else:
            sentences.append(f"{rng.choice(_PRONOUNS)} is {' and '.join(burdens)}")
    return ". ".join(sentences) + "."
