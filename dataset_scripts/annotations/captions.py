"""Caption clean-up: spaces and punctuation change, words never do."""

import html
import re
import unicodedata

__all__ = ["clean_caption"]

LONGEST_CAPTION = 20_000  # characters: models read some 77 tokens, and tokenizing megabytes takes a minute
_UNWRITTEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")
_STRAIGHT_QUOTES = str.maketrans({**dict.fromkeys("‘’‚‛′ʼ", "'"), **dict.fromkeys("“”„‟″", '"')})
_ADDRESS_OR_MARK = re.compile(
    r"(?<![\w.+-])(?:(?:https?://|www\.)\S+|[\w.+-]+@\S+)| ?(?P<mark>[.,;:!?])(?: ?(?P=mark))*", re.IGNORECASE
)
_CLOSING = frozenset("\"')]}%.,;:!?")


def clean_caption(text: str) -> str:
    """Tidy a caption's spaces and punctuation.

    In order:

    1. HTML entities (`&amp;`, `&#39;`) become characters, repeatedly, as in OpenAI's code.
    2. Control characters, line breaks and lone surrogates become spaces; soft hyphens, zero-width spaces and byte
       order marks are removed.
    3. Unicode is composed (NFC), as CLIP's tokenizer does. NFKC would rewrite letters and digits (`½`, `m²`).
    4. Typographic quotes become ASCII: ftfy did so for CLIP's training text, and the tokenizer knows the `'s` of
       `man's`. Dashes and `…` stay, as they do there.
    5. Runs of white space become one space; both ends are stripped.
    6. Around `. , ; : ! ?`: repeated marks become one, the space before is removed, and one is added after where a
       letter follows: `shirt ,he` -> `shirt, he`, `shirt.His` -> `shirt. His`. Numbers (`1.80`, `10:30`, ` .5`), dots
       after a single letter (`e.g.`, `U.S.`, `T.shirt`), and web and mail addresses are left unchanged.
    7. Texts are cut at 20,000 characters, hundreds of times what a model reads.

    Idempotent; a caption with a letter or digit never becomes empty.

    >>> clean_caption("A man in a red shirt.His shoes are  white ,, he is 1.80 m tall .")
    'A man in a red shirt. His shoes are white, he is 1.80 m tall.'
    """
    text = text[: 10 * LONGEST_CAPTION]
    while (unescaped := html.unescape(text)) != text:
        text = unescaped
    text = _INVISIBLE.sub("", _UNWRITTEN.sub(" ", text))
    text = unicodedata.normalize("NFC", text).translate(_STRAIGHT_QUOTES)
    return _ADDRESS_OR_MARK.sub(_spaced_mark, " ".join(text.split()))[:LONGEST_CAPTION].strip()


def _spaced_mark(match: re.Match[str]) -> str:
    mark = match["mark"]
    before = match.string[max(0, match.start() - 2) : match.start()]
    after = match.string[match.end() : match.end() + 1]
    spaced = match[0].startswith(" ")
    in_number = after.isdigit() and (before[-1:].isdigit() or (mark == "." and spaced))
    if mark is None or in_number:
        return match[0]
    single_letter = before[-1:].isalpha() and not before[:-1].isalpha()
    abbreviation = mark == "." and single_letter and not spaced
    ends_something = before[-1:].isalnum() or before[-1:] in _CLOSING
    return f"{mark} " if after.isalpha() and ends_something and not abbreviation else mark
