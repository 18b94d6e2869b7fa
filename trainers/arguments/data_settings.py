"""Settings of the data: sets, sampling, augmentation."""

from dataclasses import dataclass
from typing import Any, ClassVar

from dataset_scripts.annotations.splitting import SPLIT_RULES
from trainers.arguments.fields import Alias, setting

__all__ = ["DataSettings"]


@dataclass
class DataSettings:
    """Part of [`TwoStageTrainingArguments`]: the data."""

    _argument_group_name: ClassVar = "data"

    dataset: str = setting(
        default="synthetic_pedes",
        help="The data set: a name (with data_dir), a folder, USER/NAME on the Hub, or MODULE:FUNCTION.",
        local="data",
    )
    data_dir: str | None = setting(
        default=None,
        help="The data set's folder (not for synthetic_pedes).",
        resumable=True,
        local="folder",
        published=False,
    )
    dataset_options: dict[str, Any] = setting(
        default_factory=dict,
        help="Further options of the data set, as JSON: '{\"seed\": 1}'.",
        local="data",
        card="Options of the data set: {}.",
    )
    clean_captions: bool = setting(
        default=True,
        help="Fix spaces and punctuation in captions (sets in folders).",
        card="Captions were not cleaned.",
    )
    split_rule: str = setting(
        default="names",
        help="How to draw the splits that a set in a folder lacks: by 'names', or by 'numbers' as earlier versions.",
        choices=SPLIT_RULES,
        before="numbers",
    )
    on_bad_image: str = setting(
        default="error",
        help="'error', or 'skip' to list bad images and train on the rest (folders).",
        choices=("error", "skip"),
    )
    also_train_on: list[str] = setting(
        default_factory=list,
        help="Sets whose train splits are added: NAME=FOLDER, a folder, or USER/NAME on the Hub.",
        local="data",
    )
    on_leak: str = setting(
        default="error",
        help="Test images in the joined training set: 'error', 'drop' those persons, or 'allow'.",
        choices=("error", "drop", "allow"),
        needs=("also_train_on", None),
    )
    streaming: bool = setting(default=False, help="Read the train split while training (Parquet and the Hub).")
    shuffle_buffer: int = setting(
        default=10_000,
        help="With streaming: caption-image pairs to hold and shuffle.",
        low=1,
        high=10_000_000,
        needs=("streaming", True),
    )
    sampling: str = setting(
        default="shuffle",
        help=(
            "What a batch holds: any pairs ('shuffle'), several of each of some persons ('identity'), or "
            "captions of about one 'length', which are faster."
        ),
        choices=("shuffle", "identity", "length"),
    )
    num_instances: int = setting(
        default=4,
        help="With --sampling identity: pairs of a person in a batch.",
        low=1,
        high=1024,
        needs=("sampling", "identity"),
    )
    num_workers: int = setting(
        default=2,
        help="Processes that prepare images, beside each training one.",
        low=0,
        high=256,
        resumable=True,
        aliases=(Alias("dataloader_num_workers"),),
    )

    # augmentation of training images and captions
    augment_flip: float = setting(
        default=0.5, help="Probability of mirroring an image.", low=0, high=1, card="mirrored with probability {:g}"
    )
    augment_pad: int = setting(
        default=10,
        help="Padding before the random crop, in pixels of 384x128.",
        low=0,
        high=384,
        card="padded by {} pixels (at 384 rows) and cropped",
    )
    augment_erase: float = setting(
        default=0.5,
        help="Probability of erasing a rectangle.",
        low=0,
        high=1,
        card="a rectangle erased with probability {:g}",
    )
    augment_color_jitter: float = setting(
        default=0.0, help="Strength of colour jitter; 0 is off.", low=0, high=1, card="colours jittered by {:g}"
    )
    augment_text: dict[str, float] = setting(
        default_factory=dict,
        help="Probabilities of deleting a word and of masking a token: deletion=0.05,mask=0.1 or JSON.",
    )
