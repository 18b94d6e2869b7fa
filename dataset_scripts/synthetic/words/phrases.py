"""Noun phrases for clothes and belongings: "striped red sweater", "long brown hair"."""

import random
from collections.abc import Collection

from dataset_scripts.synthetic.attributes import PersonAttributes
from dataset_scripts.synthetic.words.lexicon import colour_word, thing_word, with_article

__all__ = ["Phrases"]


class Phrases:
    """Name a person's visible parts; call only for parts in `visible`.

    Args:
        look: the person's attributes.
        visible: the names of the parts that the picture shows.
        rng: chooses words.
        variety: probability of a synonym instead of the plainest word, 0 to 1.
        detail: probability of naming a visible pattern.
    """

    def __init__(
        self,
        look: PersonAttributes,
        visible: Collection[str],
        rng: random.Random,
        variety: float = 1.0,
        detail: float = 0.75,
    ):
        self._look = look
        self._visible = visible
        self._rng = rng
        self._variety = variety
        self._detail = detail

    def _named(self, colour: str, thing: str) -> str:
        return f"{colour_word(self._rng, colour, self._variety)} {thing_word(self._rng, thing, self._variety)}"

    def _patterned(self, colour: str, noun: str) -> str:
        other = colour_word(self._rng, self._look.pattern_colour, self._variety)
        options = {
            "stripes": (
                f"{colour} {noun} with {other} stripes",
                f"{colour} and {other} striped {noun}",
                f"striped {colour} {noun}",
            ),
            "plaid": (f"{colour} and {other} plaid {noun}", f"{colour} checkered {noun}", f"plaid {colour} {noun}"),
            "logo": (
                f"{colour} {noun} with {with_article(other)} logo",
                f"{colour} {noun} with {with_article(other)} print on the chest",
            ),
        }
        return self._rng.choice(options[self._look.pattern])

    def upper(self) -> str:
        """Name the upper garment, sometimes its pattern or the top underneath."""
        rng, look = self._rng, self._look
        noun = thing_word(rng, look.upper, self._variety)
        colour = colour_word(rng, look.upper_colour, self._variety)
        if "pattern" in self._visible and rng.random() < self._detail:
            return self._patterned(colour, noun)
        if "inner" in self._visible and rng.random() < 0.4:
            return f"{colour} {noun} over {with_article(colour_word(rng, look.inner_colour, self._variety))} top"
        return f"{colour} {noun}"

    def lower(self) -> str:
        """The lower garment, without article."""
        return self._named(self._look.lower_colour, self._look.lower)

    def shoes(self) -> str:
        """The shoes."""
        return self._named(self._look.shoe_colour, "shoes")

    def hat(self) -> str:
        """The hat, without article."""
        return self._named(self._look.hat_colour, self._look.hat)

    def bag(self) -> str:
        """The bag, without article."""
        return self._named(self._look.bag_colour, self._look.bag)

    def glasses(self) -> str:
        """The glasses."""
        return thing_word(self._rng, "glasses", self._variety)

    def held(self) -> str:
        """Name the held object without article; only umbrellas have a colour."""
        if self._look.held == "umbrella":
            return self._named(self._look.held_colour, "umbrella")
        return thing_word(self._rng, self._look.held, self._variety)

    def hair(self) -> str:
        """Name hair by length and colour, or a bald head with article."""
        if self._look.hair_length == "bald":
            return self._rng.choice(("a bald head", "a shaved head"))
        if self._rng.random() < 0.8:
            return f"{self._look.hair_length} {self._look.hair_colour} hair"
        return f"{self._look.hair_colour} hair"
