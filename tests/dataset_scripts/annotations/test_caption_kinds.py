"""Captions that are no sentence about a person."""

import pytest

from dataset_scripts.annotations.caption_kinds import CaptionScripts, odd_part

PLAIN = (
    "The man wears a red coat, jeans and white shoes.",
    "A woman (about 30) in a coat(black); she is 1.80 m tall...",
    "He carries a bag with the words NO.1 & co: 50% off!",
    "a T-shirt with 'I <3 NY' on it - size S/M",
    "The caf\u00e9's waiter, in a na\u00efve mood, half past 10:30",
)
ODD = {
    "def f(x): return x[0]": "code: f(x):",
    "print()": "code: print()",
    "if a == b": "code: ==",
    "{'caption': 'a man'}": "code: {",
    "A <b>man</b> in red": "markup: <b>",
    "a man<br/>in red": "markup: <br/>",
    "<|endoftext|> a man": "markup: <|endoftext|>",
    "a **tall** man": "markup: **t",
    "https://x.y/z.jpg": "an address: https://x.y/z.jpg",
    "see www.shop.com for more": "an address: www.shop.com",
    "write to a.b@c.de": "an address: a.b@c.de",
    "cam1/0001.JPG": "a file name: cam1/0001.JPG",
}


@pytest.mark.parametrize("caption", PLAIN)
def test_a_sentence_is_plain(caption: str):
    assert odd_part(caption) == ""


@pytest.mark.parametrize(("caption", "part"), ODD.items())
def test_what_is_no_sentence_is_told(caption: str, part: str):
    assert odd_part(caption) == part


def _foreign(*captions: str) -> tuple[int, str] | None:
    scripts = CaptionScripts()
    for row, caption in enumerate(captions):
        scripts.add(row, [caption])
    found = scripts.finish()
    return found and (found.total, found.examples[0][2])


@pytest.mark.parametrize(
    ("captions", "expected"),
    [
        ((), None),
        (PLAIN, None),
        (("\u4e00\u4e2a\u7537\u4eba\u7a7f\u7740 T \u6064", "\u7537\u4eba"), None),
        (("\u7537\u306e\u4eba\u30b3\u30fc\u30c8", "\ub0a8\uc790"), None),
        ((*PLAIN, "\u4e00\u4e2a\u7537\u4eba"), (1, "Chinese, Japanese or Korean")),
        ((*PLAIN, "\u043c\u0443\u0436\u0447\u0438\u043d\u0430", "a m\u0430n"), (2, "Cyrillic")),
        (("\u7537\u4eba", "\u4e00\u4e2a", "a man"), (1, "Latin")),
        (("12 \u00b5m \u00aa \u2013 \u2026", "a man"), None),
    ],
)
def test_captions_of_another_script_are_counted(captions: tuple[str, ...], expected: tuple[int, str] | None):
    assert _foreign(*captions) == expected


def test_examples_are_few():
    scripts = CaptionScripts()
    scripts.add(0, ["a man"] * 3000)
    for row in range(1000):
        scripts.add(row, ["\u7537\u4eba"])
    found = scripts.finish()
    assert (found.total, len(found.examples), found.main) == (1000, 5, "Latin")
