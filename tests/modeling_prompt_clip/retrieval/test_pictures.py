import numpy as np
import pytest
import torch
from PIL import Image

from modeling_prompt_clip.retrieval import (
    EncodedSplit,
    Tile,
    contact_sheet,
    dataset_sheet,
    fonts,
    pictures,
    ranked_strips,
)
from modeling_prompt_clip.retrieval.pictures import IRRELEVANT, RELEVANT

BLUE = (0, 0, 255)


def has_colour(sheet, colour):
    return (np.asarray(sheet) == colour).all(axis=2).any()


def runs_of_colour(row_of_pixels, colour):
    """How many separate stretches of one colour a row of pixels has."""
    same = (row_of_pixels == colour).all(axis=1).astype(int)
    return int((np.diff(same, prepend=0) == 1).sum())


@pytest.fixture
def encoded(people):
    """Caption embeddings are one-hot of the person; so are the images', but that of image 3 lies with person 10."""
    rows = torch.tensor([row for row, captions in enumerate(people["captions"]) for _ in captions])
    person_ids = torch.tensor(people["person_id"][:])
    embeds = torch.nn.functional.one_hot(person_ids - 10).float()
    misled = embeds.clone()
    misled[3] = embeds[0]
    return EncodedSplit(
        image_embeds=misled,
        text_embeds=embeds[rows],
        image_person_ids=person_ids,
        text_person_ids=person_ids[rows],
        captions=[caption for captions in people["captions"] for caption in captions],
        caption_image_rows=rows,
    )


def test_small_crops_are_enlarged_and_framed():
    crop = Image.new("RGB", (48, 144), BLUE)
    sheet = contact_sheet([("a man", [(crop, RELEVANT, "1"), (crop, IRRELEVANT, "2"), (crop, None, "")])])
    pixels = np.asarray(sheet)
    assert int((pixels == BLUE).all(axis=2).sum()) == 3 * 200 * 67 - 2 * 22 * 23  # two marks
    assert has_colour(sheet, RELEVANT)
    assert has_colour(sheet, IRRELEVANT)


def test_a_frame_of_none_draws_none():
    sheet = contact_sheet([("a man", [Tile(Image.new("RGB", (48, 144), BLUE))])])
    assert not has_colour(sheet, RELEVANT)
    assert not has_colour(sheet, IRRELEVANT)


def test_pictures_of_any_shape_and_mode_fit():
    wide = Image.new("L", (400, 100), 0)
    tall = Image.new("RGBA", (1, 500), BLUE)
    palette = Image.new("P", (10, 10))
    sheet = contact_sheet([("a", [Tile(wide), Tile(tall)]), ("b", [Tile(palette)]), ("nothing", [])], tile_height=100)
    assert sheet.mode == "RGB"
    assert sheet.height < 3 * 200


def test_long_text_is_cut_inside_its_row():
    tile = Tile(Image.new("RGB", (48, 144), BLUE))
    long, short = (contact_sheet([(text, [tile]), ("next", [tile])]) for text in ("word " * 500, "word"))
    assert long.size == short.size
    half = long.height // 2 + 10
    assert np.array_equal(np.asarray(long)[half:], np.asarray(short)[half:])


def test_text_does_not_run_into_the_pictures():
    tile = Tile(Image.new("RGB", (48, 144), BLUE))
    long, short = (contact_sheet([(text, [tile])], text_width=150) for text in ("some words " * 20, "w"))
    pictures_from = 20 + 150 + 20
    assert np.array_equal(np.asarray(long)[:, pictures_from:], np.asarray(short)[:, pictures_from:])


def test_a_sheet_without_pictures_is_refused():
    for rows in ([], [("text", [])]):
        with pytest.raises(ValueError, match="at least one row with a picture"):
            contact_sheet(rows)


def test_strips_are_green_for_the_person_and_red_for_others(encoded, people):
    person_10, person_12 = (encoded.text_person_ids == person_id for person_id in (10, 12))
    for wanted, colours in ((person_10, (3, 1)), (person_12, (3, 1))):
        row = int(wanted.nonzero()[0])
        only = EncodedSplit(
            encoded.image_embeds,
            encoded.text_embeds[row : row + 1],
            encoded.image_person_ids,
            encoded.text_person_ids[row : row + 1],
            encoded.captions[row : row + 1],
            encoded.caption_image_rows[row : row + 1],
        )
        pixels = np.asarray(ranked_strips(only, people, top=4))
        top_edge = (pixels == RELEVANT).all(axis=2).sum(axis=1).argmax()
        assert tuple(runs_of_colour(pixels[top_edge], colour) for colour in (RELEVANT, IRRELEVANT)) == colours


def test_where_all_answers_are_wrong_the_first_right_one_follows(encoded, people, monkeypatch):
    monkeypatch.setattr(pictures, "TILES_IN_A_LINE", 20)
    person_ids = encoded.image_person_ids
    wanted = person_ids[0]
    scores = torch.linspace(1.0, 0.1, len(person_ids)) - 5.0 * (person_ids == wanted)  # the person comes last
    only = EncodedSplit(
        torch.eye(len(person_ids)), scores[None], person_ids, wanted[None], ["a caption"], torch.tensor([0])
    )
    for top, colours in ((3, (1, 3)), (len(person_ids), (int((person_ids == wanted).sum()), None))):
        pixels = np.asarray(ranked_strips(only, people, queries=[0], top=top))
        edge = (pixels == RELEVANT).all(axis=2).sum(axis=1).argmax()
        assert runs_of_colour(pixels[edge], RELEVANT) == colours[0]
        assert colours[1] is None or runs_of_colour(pixels[edge], IRRELEVANT) == colours[1]


def test_strips_depend_on_the_seed_alone(encoded, people):
    first, again, other = (ranked_strips(encoded, people, queries=3, seed=seed) for seed in (0, 0, 1))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_more_queries_and_answers_than_there_are_show_all(encoded, people):
    sheet = ranked_strips(encoded, people, queries=1000, top=1000)
    assert sheet.height > 18 * 200
    assert sheet.width < 13 * 100 + 400


def test_a_data_set_is_shown_with_and_without_cameras(people):
    sheet = dataset_sheet(people, identities=100)
    assert 4 * 200 < sheet.height < 5 * 250
    assert dataset_sheet(people, identities=2, seed=0).tobytes() == dataset_sheet(people, identities=2).tobytes()


def test_many_pictures_go_on_in_further_lines():
    tile = Tile(Image.new("RGB", (48, 144), BLUE))
    one, many, most = (contact_sheet([("a man", [tile] * count)]) for count in (10, 150, 100_000))
    assert one.width == many.width and many.height > 14 * 230
    assert most.height < 21 * 230
    assert int((np.asarray(many) == BLUE).all(axis=2).sum()) == 150 * 200 * 67


def test_right_and_wrong_differ_without_colour():
    crop = Image.new("RGB", (48, 144), BLUE)
    grey = []
    for frame in (RELEVANT, IRRELEVANT):
        pixels = np.asarray(contact_sheet([("a man", [Tile(crop, frame)])]))
        grey.append((pixels == frame).all(axis=2))
    assert (grey[0] != grey[1]).sum() > 50


@pytest.mark.parametrize(
    "text",
    [
        "\u7537\u4eba\u7a7f\u7740\u7ea2\u8272\u5916\u5957" * 40,
        "\u043c\u0443\u0436\u0447\u0438\u043d\u0430",
        "\u0631\u062c\u0644 \u064a\u0631\u062a\u062f\u064a",
        "x" * 100_000,
        "a \x1b[31mred\x07 man \ud800",
        "\u0301" * 3000,
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
        "",
    ],
)
def test_texts_of_any_script_and_length(text: str):
    tile = Tile(Image.new("RGB", (48, 144), BLUE), None, f"1: 0.5\n{text[:20]}")
    sheet = contact_sheet([(text, [tile])], title=text[:50])
    assert sheet.height < 400


def test_a_text_without_a_font_is_left_out(monkeypatch):
    monkeypatch.setattr(fonts, "_font_files", list)
    fonts._file_with.cache_clear()
    assert fonts.font_for("\u7537\u4eba", 16) is None and fonts.font_for("a man", 16) is not None
    tile = Tile(Image.new("RGB", (48, 144), BLUE))
    sheets = [contact_sheet([(text, [tile])]).tobytes() for text in ("\u7537\u4eba", pictures.NO_FONT, "")]
    fonts._file_with.cache_clear()
    assert sheets[0] == sheets[1] != sheets[2]
