"""Captions of the catalogue domain: terse alt texts, product titles, fuller descriptions, sometimes noise."""

import random
from collections.abc import Collection, Sequence

from dataset_scripts.synthetic.attributes import PersonAttributes
from dataset_scripts.synthetic.words.lexicon import with_article
from dataset_scripts.synthetic.words.phrases import Phrases

__all__ = ["describe_outfit", "describe_parts", "list_items", "with_tail"]

_WHO = ("person", "person", "model", "pedestrian", "individual", "man", "woman", "fashion model")
_TAILS = (
    "stock photo", "isolated", "fashion", "street style", "on sale", "free shipping", "2023", "best price", "photo",
    "online shop", "illustration", "new arrival",
)  # fmt: skip
_NOISE = (
    "img 0042", "untitled", "product photo", "download", "our new collection", "home page banner", "fashion week 2023",
    "best outfit ideas",
)  # fmt: skip
_VARIETY, _DETAIL = 0.5, 0.75
_ORDER = ("upper", "lower", "shoes", "hat", "bag", "held", "glasses")
_NAMED_SHARE = {"upper": 0.85, "lower": 0.6, "shoes": 0.4, "hat": 0.5, "bag": 0.5, "held": 0.5, "glasses": 0.4}


def _phrases(look: PersonAttributes, visible: Collection[str], rng: random.Random) -> Phrases:
    return Phrases(look, visible, rng, variety=_VARIETY, detail=_DETAIL)


def describe_parts(look: PersonAttributes, visible: Collection[str], rng: random.Random) -> list[str]:
    """Noun phrases without articles for all visible parts except the hair, in a fixed order."""
    phrases = _phrases(look, visible, rng)
    return [getattr(phrases, part)() for part in _ORDER if part in visible]


def list_items(look: PersonAttributes, visible: Collection[str], rng: random.Random) -> str:
    """A terse alt text: "woman with short black hair in red coat and blue jeans". Names at most three parts."""
    chosen = [part for part in _ORDER if part in visible and rng.random() < _NAMED_SHARE[part]]
    rng.shuffle(chosen)
    phrases = _phrases(look, visible, rng)
    items = [getattr(phrases, part)() for part in chosen[: rng.randint(1, 3)]]
    who = rng.choice((*_WHO, "someone"))
    if "hair" in visible and rng.random() < 0.3:
        who += f" with {phrases.hair()}"
    if items and rng.random() < 0.15:
        return " ".join(items)
    text = who
    if items:
        text += rng.choice((" in ", " wearing ", " with ")) + rng.choice((" and ", ", ")).join(items)
    return f"photo of {text}" if rng.random() < 0.15 else text


def _joined(items: Sequence[str]) -> str:
    """Joins to "a", "a and b" or "a, b and c"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def _clothes(phrases: Phrases, look: PersonAttributes, visible: Collection[str], rng: random.Random) -> list[str]:
    """The visible clothes from head to foot, each with its article, now and then one left out."""
    clothes = []
    if "hat" in visible and rng.random() < 0.85:
        clothes.append(with_article(phrases.hat()))
    if "upper" in visible:
        clothes.append(with_article(phrases.upper()))
    if "lower" in visible and rng.random() < 0.9:
        lower = phrases.lower()
        clothes.append(with_article(lower) if look.lower == "skirt" else rng.choice(("", "a pair of ")) + lower)
    if "shoes" in visible and rng.random() < 0.7:
        clothes.append(phrases.shoes())
    if "glasses" in visible and rng.random() < 0.5:
        clothes.append(phrases.glasses())
    return clothes


def describe_outfit(look: PersonAttributes, visible: Collection[str], rng: random.Random) -> str:
    """A fuller description, as an accessible page or an outfit page has it, of clothes, hair, bag and held thing."""
    phrases = _phrases(look, visible, rng)
    who = rng.choice(_WHO)
    clothes = _clothes(phrases, look, visible, rng)
    hair = phrases.hair() if "hair" in visible and rng.random() < 0.6 else None
    extras = []
    if "bag" in visible and rng.random() < 0.8:
        extras.append(rng.choice(("carrying ", "with ")) + with_article(phrases.bag()))
    if "held" in visible and rng.random() < 0.8:
        extras.append(rng.choice(("holding ", "with ")) + with_article(phrases.held()))
    if not clothes:
        return " ".join([who, *extras])
    worn, ending = _joined(clothes), "".join(f" {extra}" for extra in extras)
    if rng.random() < 0.25:
        rest = f"; {hair}" if hair else ""
        return f"{rng.choice(('outfit', 'look of the day', 'get the look'))}: {worn}{ending}{rest}"
    whose = with_article(who) + (f" with {hair}" if hair and rng.random() < 0.6 else "")
    remark = "" if not hair or hair in whose else f", {rng.choice(('has', 'with'))} {hair}"
    if rng.random() < 0.5:
        verb = rng.choice((" wears ", " is wearing ", " has on ", " is dressed in ", " walks in "))
        return f"{whose}{verb}{worn}{ending}{remark}"
    manner = rng.choice((" wearing ", " dressed in ", " in ", " walking in "))
    return f"{rng.choice(('', 'picture of ', 'photo of '))}{whose}{manner}{worn}{ending}{remark}"


def with_tail(text: str, rng: random.Random, noise: float = 0.06) -> str:
    """Adds a shop's tail to two texts in five; replaces a share `noise` by a text that says nothing."""
    if rng.random() < noise:
        return rng.choice(_NOISE)
    return text + rng.choice((" ", " - ", " | ", ", ")) + rng.choice(_TAILS) if rng.random() < 0.4 else text
