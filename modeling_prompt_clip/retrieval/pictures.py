"""Contact sheets of ranked answers and of data sets, by Pillow."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dataset_scripts.common.images import to_rgb
from modeling_prompt_clip.retrieval.evaluator import EncodedSplit

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["SheetRow", "Tile", "contact_sheet", "dataset_sheet", "ranked_strips", "thumbnail"]

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
TITLE_SIZE = 20


class Tile(NamedTuple):
    """An image, its frame's RGB colour or None, and a small label."""

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
    """Draw rows of wrapped text beside framed, labelled pictures.

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
    scaled = [[tile._replace(image=thumbnail(tile.image, tile_height)) for tile in row.tiles] for row in rows]
    tile_width = max(tile.image.width for tiles in scaled for tile in tiles)
    row_height = tile_height + 2 * FRAME + LABEL_SIZE + 8
    head = MARGIN + ((TITLE_SIZE + 6) * len(title.splitlines()) + 10 if title else 0)
    column = tile_width + 2 * FRAME + GAP
    left = MARGIN + text_width + MARGIN
    width = left + column * max(len(tiles) for tiles in scaled) - GAP + MARGIN
    sheet = Image.new("RGB", (width, head + (row_height + MARGIN) * len(rows)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 4), title, INK, _font(TITLE_SIZE))
    for number, (row, tiles) in enumerate(zip(rows, scaled, strict=True)):
        top = head + number * (row_height + MARGIN)
        draw.line((MARGIN, top - MARGIN // 2, width - MARGIN, top - MARGIN // 2), RULE)
        _draw_text(draw, row.text, MARGIN, top, text_width, row_height)
        for place, tile in enumerate(tiles):
            _draw_tile(sheet, draw, tile, left + place * column, top, tile_width, tile_height)
    return sheet


def ranked_strips(
    encoded: EncodedSplit,
    dataset: "Dataset",
    queries: int | Sequence[int] = 8,
    top: int = 10,
    seed: int = 0,
    title: str = "",
) -> Image.Image:
    """Draw the best answers to some captions, right ones framed green.

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
            Tile(thumbnail(dataset[image]["image"]), RELEVANT if right else IRRELEVANT, f"{score:.3f}")
            for image, right, score in zip(images[:top].tolist(), same[:top].tolist(), values.tolist(), strict=True)
        ]
        if same.any() and not same[:top].any():
            place = int(same.nonzero()[0])
            tiles.append(Tile(thumbnail(dataset[int(images[place])]["image"]), RELEVANT, f"place {place + 1:,}"))
        rows.append(SheetRow(encoded.captions[query], tiles))
    title = title or f"Best {top} images for {len(rows)} captions: green = the person described"
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


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


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
    position = (left + FRAME + width // 2, top + height + 2 * FRAME + 3)
    draw.text(position, tile.label, tile.frame or FAINT, _font(LABEL_SIZE), anchor="ma")


def _draw_text(draw: ImageDraw.ImageDraw, text: str, left: int, top: int, width: int, height: int) -> None:
    """Draw paragraphs into `width` x `height` pixels, cut with an ellipsis."""
    font = _font(TEXT_SIZE)
    lines, y = [], 0
    for paragraph in text.split("\n"):
        for line in _wrap(paragraph.split(), font, width):
            lines.append((y, line))
            y += LINE_HEIGHT
        y += PARAGRAPH_GAP
    shown = [(y, line) for y, line in lines if y + LINE_HEIGHT <= height]
    if len(shown) < len(lines):
        shown[-1] = shown[-1][0], f"{shown[-1][1]} …"
    for y, line in shown:
        draw.text((left, top + y), line, INK, font)


def _wrap(words: Iterable[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Split words into lines of at most `width` pixels."""
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
