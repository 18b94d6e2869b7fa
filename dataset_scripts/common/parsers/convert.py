"""The command line of `prompt-clip convert`."""

import argparse
from pathlib import Path

from dataset_scripts.common.parsers.shared import add_image_size, add_json, new_parser, positive_int

__all__ = ["parse", "parser"]

# These names are the conversion's own; a test compares them, since importing it takes seconds.
TOKENIZER = "openai/clip-vit-base-patch16"
CHOICES = {
    "activation": ("quick_gelu", "gelu"),
    "normalization": ("clip", "imagenet"),
    "resample": ("bilinear", "bicubic"),
    "captions": ("clip", "tbps_clip"),
}


def parser() -> argparse.ArgumentParser:
    """The parser of `prompt-clip convert`."""
    convert = new_parser(
        "convert",
        "Turn a checkpoint into a model folder. It reads OpenAI's CLIP, open_clip, IRRA, CLIP2TextReID, RDE (its "
        "global branch), MLLM4Text-ReID, TBPS-CLIP, and state dicts of transformers' CLIP, and never runs code "
        "inside a checkpoint. Options that you leave out are read from the checkpoint, from open_clip_config.json "
        "beside it, or from the code of its family; the answer says which.",
        """
        prompt-clip convert IRRA/best.pth irra_cuhk --tokenizer IRRA/data/bpe_simple_vocab_16e6.txt.gz
        prompt-clip convert ViT-B-16_state_dict.pt clip_vit_b16 --tokenizer openai/clip-vit-base-patch16
        prompt-clip convert laion/open_clip_model.safetensors laion_vit_h --activation gelu
        prompt-clip evaluate irra_cuhk --data CUHK-PEDES --split test
        prompt-clip train --config cuhk_pedes --data_dir CUHK-PEDES --base_model irra_cuhk
        """,
    )
    convert.add_argument("source", type=Path, metavar="SRC", help="a .pth, .pt, .bin or .safetensors file")
    convert.add_argument("target", type=Path, metavar="DST", help="the folder to create")
    convert.add_argument(
        "--tokenizer",
        default=TOKENIZER,
        metavar="FILE_FOLDER_OR_ID",
        help="CLIP's tokenizer: bpe_simple_vocab_16e6.txt.gz, which works offline, a folder, or a Hub id "
        f"(default {TOKENIZER}, from the Hub)",
    )
    add_image_size(convert, "training size in pixels, if it is neither square nor three times as high as wide")
    convert.add_argument(
        "--prefix", help="how the names of the CLIP's weights begin, if there are several: base_model."
    )
    convert.add_argument(
        "--activation",
        choices=CHOICES["activation"],
        help="quick_gelu for OpenAI's CLIP and its descendants, gelu for most of open_clip's (LAION, DataComp)",
    )
    convert.add_argument(
        "--head_width", type=positive_int, help="width of the vision tower's attention heads, if no known CLIP fits"
    )
    convert.add_argument("--text_head_width", type=positive_int, help="the same for the text tower")
    convert.add_argument(
        "--normalization",
        choices=CHOICES["normalization"],
        help="mean and deviation of the images (default imagenet for TBPS-CLIP, clip for all others)",
    )
    convert.add_argument(
        "--resample", choices=CHOICES["resample"], help="how images are resized (default: as the family's code does)"
    )
    convert.add_argument(
        "--captions",
        choices=CHOICES["captions"],
        help="tbps_clip drops punctuation and is the default for TBPS-CLIP; clip keeps captions unchanged",
    )
    add_json(convert)
    return convert


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse, or exit with status 2."""
    return parser().parse_args(argv)
