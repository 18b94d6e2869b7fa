from pathlib import Path

import pytest
import torch
from PIL import Image

from modeling_prompt_clip.retrieval import FolderSearcher, encode_captions, encode_images, search_folder
from modeling_prompt_clip.retrieval.search import describe_left_out, list_images, read_image


@pytest.fixture
def gallery(tmp_path, images):
    folder = tmp_path / "gallery"
    (folder / "cam 2" / "night").mkdir(parents=True)
    places = ["b.png", "a.PNG", "cam 2/c.webp", "cam 2/night/d.bmp"]
    for place, image in zip(places, images, strict=False):
        image.save(folder / place, lossless=True)
    (folder / "notes.txt").write_text("not an image")
    (folder / "folder.png").mkdir()
    return folder


def relative(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


def test_images_are_found_in_subfolders_and_sorted(gallery):
    assert relative(list_images(gallery), gallery) == ["a.PNG", "b.png", "cam 2/c.webp", "cam 2/night/d.bmp"]


def test_the_ranking_is_that_of_the_cosines(tiny_model, tiny_processor, gallery, images):
    hits = search_folder(tiny_model, tiny_processor, gallery, "a man in red", top=3)
    text = encode_captions(tiny_model, tiny_processor, ["a man in red"])
    cosines = (encode_images(tiny_model, tiny_processor, images[:4]) @ text.T)[:, 0]
    order = cosines.argsort(descending=True)[:3]
    names = ["b.png", "a.PNG", "cam 2/c.webp", "cam 2/night/d.bmp"]
    assert relative([hit.path for hit in hits], gallery) == [names[row] for row in order]
    assert [hit.score for hit in hits] == pytest.approx(cosines[order].tolist(), abs=1e-6)
    assert [hit.rank for hit in hits] == [1, 2, 3]


def test_the_folder_is_encoded_once_for_several_sentences(tiny_model, tiny_processor, gallery, monkeypatch):
    searcher = FolderSearcher(tiny_model, tiny_processor, gallery)
    monkeypatch.setattr(tiny_model, "get_image_features", None)
    first = searcher.search("a man", top=100)
    assert len(first) == 4
    assert searcher.search("a man", top=2) == first[:2]
    assert [hit.score for hit in searcher.search("quite another person", 4)] != [hit.score for hit in first]


def test_equal_images_come_in_the_order_of_their_paths(tiny_model, tiny_processor, tmp_path, images):
    for name in ("2.png", "1.png", "3.png"):
        images[0].save(tmp_path / name)
    searcher = FolderSearcher(tiny_model, tiny_processor, tmp_path)
    searcher.embeds = torch.ones_like(searcher.embeds)
    assert [hit.path.name for hit in searcher.search("a man")] == ["1.png", "2.png", "3.png"]


@pytest.mark.parametrize("damage", ["empty", "text", "truncated"])
def test_an_unreadable_image_is_named_or_skipped(tiny_model, tiny_processor, gallery, damage):
    bad = gallery / "b.png"
    whole = bad.read_bytes()
    bad.write_bytes({"empty": b"", "text": b"hello", "truncated": whole[: len(whole) // 2]}[damage])
    with pytest.raises(ValueError, match=r"image .*b\.png .*: --on_bad_image skip"):
        FolderSearcher(tiny_model, tiny_processor, gallery)
    searcher = FolderSearcher(tiny_model, tiny_processor, gallery, on_bad_image="skip")
    assert searcher.skipped == [bad]
    assert bad not in searcher.paths
    assert len(searcher.embeds) == len(searcher.paths) == 3


def test_a_folder_of_nothing_but_bad_images_is_refused(tiny_model, tiny_processor, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the 1 images can be read, beginning with .*a\.jpg"):
        FolderSearcher(tiny_model, tiny_processor, tmp_path, on_bad_image="skip")


def test_what_is_left_out_is_counted_and_named(tiny_model, tiny_processor, gallery):
    for name in ("._b.png", ".DS_Store", "Thumbs.db", "e.heic", "f.HEIC", "g"):
        (gallery / name).write_bytes(b"\0\5\x16\7")
    (gallery / "annexed.jpg").symlink_to(".git/annex/objects/x/y.jpg")
    (gallery / "linked").symlink_to(gallery / "cam 2")
    searcher = FolderSearcher(tiny_model, tiny_processor, gallery)
    assert len(searcher.paths) == 4 and not searcher.skipped
    assert {kind: relative(paths, gallery) for kind, paths in searcher.left_out.items()} == {
        ".heic": ["e.heic", "f.HEIC"],
        ".txt": ["notes.txt"],
        "hidden or of the system": [".DS_Store", "._b.png", "Thumbs.db"],
        "link that leads to no file": ["annexed.jpg"],
        "link to a folder": ["linked"],
        "without an extension": ["g"],
    }
    text = describe_left_out({"hidden": [Path(f"._{number}") for number in range(4000)]})
    assert text == "4,000 hidden (._0, ._1, ._2, ...)"


@pytest.mark.parametrize("name", ["a.gif", "a.ppm", "a.jfif", "a.jpe", "a.avif", "a.pgm", "a.TIFF"])
def test_every_format_that_is_read_is_searched(tmp_path, images, name):
    images[0].convert("L" if name == "a.pgm" else "RGB").save(tmp_path / name)
    assert read_image(list_images(tmp_path)[0]).size == images[0].size


def test_wrong_use_is_named(tiny_model, tiny_processor, gallery, tmp_path):
    with pytest.raises(NotADirectoryError, match="gallery nowhere is not a folder"):
        search_folder(tiny_model, tiny_processor, "nowhere", "a man")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no image that ends in \.avif"):
        search_folder(tiny_model, tiny_processor, tmp_path / "empty", "a man")
    (tmp_path / "empty" / "a.heic").write_bytes(b"")
    with pytest.raises(ValueError, match=r"; it holds 1 \.heic \(a\.heic\)"):
        search_folder(tiny_model, tiny_processor, tmp_path / "empty", "a man")
    with pytest.raises(ValueError, match="on_bad_image='ignore'"):
        FolderSearcher(tiny_model, tiny_processor, gallery, on_bad_image="ignore")


@pytest.mark.parametrize(
    ("query", "top", "message"), [(" \t", 10, "is blank"), ("\u200b&nbsp;", 10, "is blank"), ("a man", 0, "top=0")]
)
def test_a_bad_query_is_refused_before_the_folder_is_read(query, top, message):
    with pytest.raises(ValueError, match=message):
        search_folder(None, None, Path("nowhere"), query, top=top)


def test_an_image_is_read_upright_and_in_rgb(tmp_path):
    image = Image.new("L", (30, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    upright = read_image(tmp_path / "turned.jpg")
    assert (upright.size, upright.mode) == ((10, 30), "RGB")
