"""The range of every numeric setting."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_LEAST = 1e-300  # stands for "above 0"
_BELOW_1 = math.nextafter(1.0, 0.0)
# (lowest, highest), both allowed -> settings
_RANGES: dict[tuple[float, float], tuple[str, ...]] = {
    (0.0, math.inf): (
        "text_prompt_length", "vision_prompt_length", "num_workers", "eval_steps", "save_steps", "max_grad_norm",
        "stage_one_weight_decay", "stage_two_weight_decay", "tal_margin", "sdm_same_person_weight",
        "itc_same_image_weight", "itc_same_person_weight", "citc_in_modal_weight", "citc_cross_modal_weight",
        "mlm_layers", "augment_pad", "augment_color_jitter", "micro_batch_size", "stage_two_lora_rank",
    ),
    (1, math.inf): (
        "log_steps", "eval_batch_size", "save_total_limit", "gradient_accumulation_steps", "max_bad_steps",
        "shuffle_buffer", "num_instances",
    ),
    (2, math.inf): (
        "batch_size",
    ),
    (-1, math.inf): (
        "stage_one_max_steps", "stage_two_max_steps",
    ),
    (_LEAST, math.inf): (
        "adam_epsilon", "bias_lr_multiplier", "head_lr_multiplier", "stage_one_epochs", "stage_one_learning_rate",
        "stage_two_epochs", "stage_two_learning_rate", "sdm_temperature", "itc_temperature", "tal_temperature",
        "stage_two_lora_alpha",
    ),
    (_LEAST, 1.0): (
        "layer_lr_decay",
    ),
    (0.0, 1.0): (
        "warmup_start", "stage_one_warmup_ratio", "stage_two_warmup_ratio", "mlm_probability", "augment_flip",
        "augment_erase",
    ),
    (0.0, _BELOW_1): (
        "adam_beta1", "adam_beta2", "label_smoothing", "ema_decay",
    ),
}  # fmt: skip
RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {name: bounds for bounds, names in _RANGES.items() for name in names}
)


def check_ranges(args: Any) -> None:
    """Check every number among the settings.

    Args:
        args: has each name of `RANGES` as an attribute.

    Raises:
        ValueError: naming the first number that is none or is out of its range.
    """
    for name, (low, high) in RANGES.items():
        value = getattr(args, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} is {value!r}; it must be a number (in YAML, write 1.0e-5 rather than 1e-5)")
        if not (math.isfinite(value) and low <= value <= high):
            low_text = "above 0" if low == _LEAST else f"at least {low:g}"
            high_text = "" if high == math.inf else f" and at most {high:.6g}"
            raise ValueError(f"{name} is {value!r}; it must be {low_text}{high_text}")
    for name in ("stage_one_max_steps", "stage_two_max_steps"):
        if getattr(args, name) == 0:
            raise ValueError(f"{name} is 0; give at least 1 step, or -1 to count epochs")


__all__ = ["RANGES", "check_ranges"]
