"""Contact sheets of ranked answers and of data sets, by Pillow."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dataset_scripts.common.images import to_rgb
from dataset_scripts.common.text.printable import one_line, printable
from modeling_prompt_clip.retrieval.evaluator import EncodedSplit
from modeling_prompt_clip.retrieval.fonts import Font, font_for

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["LEGEND", "SheetRow", "Tile", "contact_sheet", "dataset_sheet", "ranked_strips", "thumbnail"]

RELEVANT = (34, 150, 72)
IRRELEVANT = (205, 50, 47)
PAPER = (255, 255, 255)
INK = (28, 30, 34)
FAINT = (112, 117, 125)
RULE = (222, 225, 230)
MARGIN = 20
GAP = 10
FRAME = 4
TILE_HEIGHT = 200
TEXT_SIZE = 16
LINE_HEIGHT = 21
PARAGRAPH_GAP = 7
LABEL_SIZE = 13
LABEL_LINE = 17
TITLE_SIZE = 20
MARK = 22
TILES_IN_A_LINE = 10
MOST_TILES = 200
"""Pictures that a row of a sheet shows; a text says how many more there are."""
MOST_LETTERS = 1000  # of a text: more do not fit
LEGEND = "tick and green = the person described, cross and red = somebody else"
NO_FONT = "(no font of this machine has the letters of this text)"


class Tile(NamedTuple):
    """An image, its frame's RGB colour or None, and a small label of one or more lines.

    `RELEVANT` frames have a tick, `IRRELEVANT` ones a cross: colours alone do not tell everybody.
    """

    image: Image.Image
    frame: tuple[int, int, int] | None = None
    label: str = ""


class SheetRow(NamedTuple):
    """A text, in paragraphs divided by newlines, and the pictures beside it."""

    text: str
    tiles: Sequence[Tile]


def contact_sheet(
    rows: Sequence[SheetRow], *, title: str = "", text_width: int = 270, tile_height: int = TILE_HEIGHT
) -> Image.Image:
    """Draw rows of wrapped text beside framed, labelled pictures, ten in a line, at most 200 a row.

    A text in a script of which this machine has no font is left out, which the sheet says.

    Args:
        rows: also plain tuples `(text, [(image, frame colour or None, label), ...])`; long texts end in an ellipsis.
        title: above the rows, in one line or several.
        text_width: pixels of the column of text.
        tile_height: pixels of the longer side of each picture.

    Raises ValueError: no rows, or no picture in any of them.
    """
    rows = [SheetRow(text, [Tile(*tile) for tile in tiles]) for text, tiles in rows]
    if not any(row.tiles for row in rows):
        raise ValueError("a contact sheet needs at least one row with a picture")
    scaled = [
        [tile._replace(image=thumbnail(tile.image, tile_height)) for tile in row.tiles[:MOST_TILES]] for row in rows
    ]
    lines = [tile.label.split("\n") for tiles in scaled for tile in tiles]
    label_width = max(_length(line) for label in lines for line in label)
    tile_width = max(min(label_width, tile_height), *(tile.image.width for tiles in scaled for tile in tiles))
    labels = max(map(len, lines))
    line_height = tile_height + 2 * FRAME + LABEL_LINE * labels + 6
    heights = [line_height * max(1, -(-len(tiles) // TILES_IN_A_LINE)) for tiles in scaled]
    head = MARGIN + ((TITLE_SIZE + 6) * len(title.splitlines()) + 10 if title else 0)
    column = tile_width + 2 * FRAME + GAP
    left = MARGIN + text_width + MARGIN
    width = left + column * min(TILES_IN_A_LINE, max(len(tiles) for tiles in scaled)) - GAP + MARGIN
    sheet = Image.new("RGB", (width, head + sum(heights) + MARGIN * len(rows)), PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (MARGIN, MARGIN - 4), title, INK, TITLE_SIZE)
    top = head
    for row, tiles, height in zip(rows, scaled, heights, strict=True):
        draw.line((MARGIN, top - MARGIN // 2, width - MARGIN, top - MARGIN // 2), RULE)
        rest = len(row.tiles) - len(tiles)
        text = f"{row.text}\n({rest:,} more are not shown)" if rest else row.text
        _draw_text(draw, text, MARGIN, top, text_width, height)
        for place, tile in enumerate(tiles):
            line, position = divmod(place, TILES_IN_A_LINE)
            _draw_tile(sheet, draw, tile, left + position * column, top + line * line_height, tile_width, tile_height)
        top += height + MARGIN
    return sheet


def ranked_strips(
    encoded: EncodedSplit,
    dataset: "Dataset",
    queries: int | Sequence[int] = 8,
    top: int = 10,
    seed: int = 0,
    title: str = "",
) -> Image.Image:
    """Draw the best answers to some captions, right ones ticked and framed green, with score and camera.

    If no answer is right, the first right image follows, with its place in the ranking. `dataset` is the encoded
    split; `queries` are captions, or how many to draw by `seed`.
    """
    top = min(top, len(encoded.image_embeds))
    if isinstance(queries, int):
        chosen = np.sort(_draw_from(len(encoded.captions), queries, seed))
    else:
        chosen = np.asarray(queries)
    scores = encoded.text_embeds[chosen] @ encoded.image_embeds.T
    best = scores.sort(dim=1, descending=True, stable=True)
    rows = []
    for query, values, images in zip(chosen, best.values[:, :top], best.indices, strict=True):
        same = encoded.image_person_ids[images] == encoded.text_person_ids[query]
        tiles = [
            _answer(dataset[image], right, f"{score:.3f}")
            for image, right, score in zip(images[:top].tolist(), same[:top].tolist(), values.tolist(), strict=True)
        ]
        if same.any() and not same[:top].any():
            place = int(same.nonzero()[0])
            tiles.append(_answer(dataset[int(images[place])], True, f"place {place + 1:,}"))
        rows.append(SheetRow(encoded.captions[query], tiles))
    title = title or f"Best {top} images for {len(rows)} captions: {LEGEND}"
    return contact_sheet(rows, title=title)


def dataset_sheet(dataset: "Dataset", identities: int = 8, seed: int = 0) -> Image.Image:
    """Draw some persons of a data set, one per row.

    `dataset` has `image`, `person_id`, `captions` and `camera`; `seed` draws as many `identities`.
    """
    person_ids = np.asarray(dataset["person_id"][:])
    people = np.unique(person_ids)
    rows = []
    for person_id in np.sort(people[_draw_from(len(people), identities, seed)]):
        records = [_small(dataset[int(row)]) for row in np.flatnonzero(person_ids == person_id)]
        captions = dict.fromkeys(caption for record in records for caption in record["captions"])
        tiles = [Tile(record["image"], None, record["camera"] or "") for record in records]
        rows.append(SheetRow("\n".join([f"person {person_id}", *captions]), tiles))
    title = f"{len(rows)} of {len(people)} identities, {len(dataset)} images in all"
    return contact_sheet(rows, title=title, text_width=440)


def _small(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "image": thumbnail(record["image"])}


def _draw_from(population: int, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(population, size=min(size, population), replace=False)


def _answer(row: dict[str, Any], right: bool, label: str) -> Tile:
    camera = row.get("camera")
    label = f"{label}\n{one_line(camera)[:24]}" if camera else label
    return Tile(thumbnail(row["image"]), RELEVANT if right else IRRELEVANT, label)


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    colour: tuple[int, int, int],
    size: int,
    anchor: str | None = None,
) -> None:
    """Draw lines of text, each in a font that has its letters; others are left out."""
    x, y = place
    for line in printable(text).split("\n"):
        font = font_for(line, size)
        if font is not None:
            draw.text((x, y), line, colour, font, anchor=anchor)
        y += size + 5


def thumbnail(image: Image.Image, side: int = TILE_HEIGHT) -> Image.Image:
    """Shrink to RGB with a longer side of `side` pixels, upright."""
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return to_rgb(image).resize(size, Image.Resampling.LANCZOS)


def _draw_tile(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int, width: int, height: int
) -> None:
    """Draw a picture at the top of its cell, its label below."""
    x = left + FRAME + (width - tile.image.width) // 2
    y = top + FRAME
    if tile.frame:
        draw.rectangle(
            (x - FRAME, y - FRAME, x + tile.image.width + FRAME - 1, y + tile.image.height + FRAME - 1), tile.frame
        )
    sheet.paste(tile.image, (x, y))
    if tile.frame in (RELEVANT, IRRELEVANT):
        _draw_mark(draw, x + tile.image.width - MARK, y, tile.frame)
    position = (left + FRAME + width // 2, top + height + 2 * FRAME + 3)
    _write(draw, position, tile.label, tile.frame or FAINT, LABEL_SIZE, "ma")


def _length(label: str) -> int:
    font = font_for(label, LABEL_SIZE)
    return round(font.getlength(label)) if font else 0


def _draw_mark(draw: ImageDraw.ImageDraw, x: int, y: int, frame: tuple[int, int, int]) -> None:
    """Draw a tick or a cross on a square of the frame's colour."""
    draw.rectangle((x, y, x + MARK, y + MARK), frame)
    near, far, middle = 6, MARK - 6, MARK // 2
    if frame == RELEVANT:
        draw.line((x + near, y + middle, x + middle - 1, y + far, x + far, y + near), PAPER, 3, "curve")
    else:
        draw.line((x + near, y + near, x + far, y + far), PAPER, 3)
        draw.line((x + near, y + far, x + far, y + near), PAPER, 3)


def _draw_text(draw: ImageDraw.ImageDraw, text: str, left: int, top: int, width: int, height: int) -> None:
    """Draw paragraphs into `width` x `height` pixels, cut with an ellipsis."""
    lines, y = [], 0
    for paragraph in printable(text[:MOST_LETTERS]).split("\n"):
        font = font_for(paragraph, TEXT_SIZE)
        if font is None:
            paragraph, font = NO_FONT, ImageFont.load_default(TEXT_SIZE)
        for line in _wrap(paragraph, font, width):
            lines.append((y, line, font))
            y += LINE_HEIGHT
        y += PARAGRAPH_GAP
    shown = [(y, line, font) for y, line, font in lines if y + LINE_HEIGHT <= height]
    if len(shown) < len(lines):
        y, line, font = shown[-1]
        shown[-1] = y, f"{line} ...", font
    for y, line, font in shown:
        draw.text((left, top + y), line, INK, font)


def _wrap(text: str, font: Font, width: int) -> list[str]:
    """Split a text into lines of at most `width` pixels; words that are longer, as of Chinese, are broken."""
    lines = [""]
    for word in _words(text, font, width):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _words(text: str, font: Font, width: int) -> Iterator[str]:
    for word in text.split():
        while font.getlength(word) > width and len(word) > 1:
            lengths = range(1, len(word))
            fits = max(1, bisect_right(lengths, width, key=lambda length: math.ceil(font.getlength(word[:length]))))
            yield word[:fits]
            word = word[fits:]
        yield word
