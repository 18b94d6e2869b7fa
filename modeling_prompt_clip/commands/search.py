"""`prompt-clip search MODEL --gallery FOLDER "a sentence"`: find the best images."""

import argparse
import io
import json
import logging
import sys
from pathlib import Path

from PIL import ExifTags, Image

from dataset_scripts.common.files import check_output, write_atomically
from dataset_scripts.common.parsers.search import parse
from dataset_scripts.common.text.printable import one_line
from modeling_prompt_clip.loading import load_model
from modeling_prompt_clip.retrieval.pictures import SheetRow, Tile, contact_sheet, thumbnail
from modeling_prompt_clip.retrieval.search import (
    FolderSearcher,
    SearchHit,
    check_query,
    describe_left_out,
    list_images,
    read_image,
)

__all__ = ["main"]

_NAMES_LISTED = 5
_NAME_SHOWN = 18  # letters, below a picture

Answers = list[tuple[str, list[SearchHit]]]

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Search a folder by each sentence; print a table or JSON; draw a contact sheet where one is named.

    Raises ValueError: a blank sentence, an output that is no PNG or lies inside the gallery, an unreadable image;
    OSError: the model or the gallery cannot be read.
    """
    args = parse(argv)
    _check(args, args.output)
    model, processor = load_model(args.model, device=args.device)
    searcher = FolderSearcher(
        model, processor, args.gallery, batch_size=args.batch_size, on_bad_image=args.on_bad_image
    )
    if searcher.left_out:
        logger.warning(
            "left out of the search, as their names are not those of images: %s", describe_left_out(searcher.left_out)
        )
    for fault in searcher.faults[:_NAMES_LISTED]:
        logger.warning("skipped: %s", fault)
    if len(searcher.faults) > _NAMES_LISTED:
        logger.warning("skipped %d more; --json lists all", len(searcher.faults) - _NAMES_LISTED)
    answers = [(sentence, searcher.search(sentence, args.top)) for sentence in args.sentences]
    if args.output:
        buffer = io.BytesIO()
        _picture(answers).save(buffer, "PNG")
        write_atomically(args.output, buffer.getvalue())
        logger.info("wrote the pictures to %s", args.output)
    elif not args.json:
        logger.info("to see the pictures, add: --output search.png")
    sys.stdout.write(_as_json(args, searcher, answers) if args.json else _as_table(answers))
    return 0


def _check(args: argparse.Namespace, sheet: Path | None) -> None:
    for sentence in args.sentences:
        check_query(sentence, args.top)
    list_images(args.gallery)
    if sheet is None:
        return
    if sheet.suffix.lower() != ".png":
        raise ValueError(f"--output {sheet} is not a PNG; name a file that ends in .png")
    check_output(sheet.parent, "the folder of --output,")
    if sheet.resolve().is_relative_to(args.gallery.resolve()):
        raise ValueError(
            f"the contact sheet {sheet} would lie inside the gallery {args.gallery} and be found by the next search; "
            "choose another place by --output"
        )


def _picture(answers: Answers) -> Image.Image:
    return contact_sheet([SheetRow(sentence, list(map(_tile, hits))) for sentence, hits in answers])


def _tile(hit: SearchHit) -> Tile:
    """The picture of a hit, with rank, score, the end of its name, and when it was taken if the file tells."""
    with Image.open(hit.path) as picture:
        taken = str(picture.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal, ""))
    name = hit.path.stem if len(hit.path.stem) <= _NAME_SHOWN else f"...{hit.path.stem[-_NAME_SHOWN + 3 :]}"
    label = "\n".join(filter(None, [f"{hit.rank}: {hit.score:.3f}", one_line(name), one_line(taken)[:19]]))
    return Tile(thumbnail(read_image(hit.path)), None, label)


def _as_table(answers: Answers) -> str:
    blocks = []
    for sentence, hits in answers:
        lines = [f"{hit.rank:>4}  {hit.score:>7.4f}  {one_line(hit.path)}" for hit in hits]
        blocks.append("\n".join([one_line(sentence), "rank    score  path", *lines, ""]))
    return "\n".join(blocks)


def _as_json(args: argparse.Namespace, searcher: FolderSearcher, answers: Answers) -> str:
    answer = {
        "model": args.model,
        "gallery": str(args.gallery),
        "images": len(searcher.paths),
        "skipped": [str(path) for path in searcher.skipped],
        "left_out": [
            {"kind": kind, "count": len(paths), "first": [str(path) for path in paths[:_NAMES_LISTED]]}
            for kind, paths in searcher.left_out.items()
        ],
        "answers": [
            {
                "sentence": sentence,
                "hits": [{"rank": hit.rank, "score": hit.score, "path": str(hit.path)} for hit in hits],
            }
            for sentence, hits in answers
        ],
    }
    return json.dumps(answer, indent=2) + "\n"
