"""Parameter groups, optimizer and learning-rate schedule of a stage."""

import math
import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from dataset_scripts.common.numbers import check_integer, check_number
from trainers.arguments.settings import StageSettings, TwoStageTrainingArguments

_OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
_FUSED_DEVICES = {"cpu", "cuda", "mps", "xpu"}
_UNDECAYED_NAMES = re.compile(r"(token|position|class)_embedding")
_TOWER = re.compile(r"(text|vision)_model\.")
_LAYER = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d+)\.")
_BELOW_LAYERS = re.compile(r"embeddings\.|pre_layrnorm\.")


def parameter_groups(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    *,
    learning_rate: float,
    weight_decay: float,
    bias_lr_multiplier: float = 2.0,
    head_lr_multiplier: float = 5.0,
    layer_lr_decay: float = 1.0,
    head_prefixes: Sequence[str] = ("objective.",),
) -> list[dict[str, Any]]:
    """Sort the trainable parameters into few groups, each with its learning rate and weight decay.

    The rules are those of IRRA's solver (arXiv 2303.12501), which has a group for each tensor, except that norms and
    embeddings are not decayed, as in CLIP's own training (arXiv 2103.00020, section 2.5).

    | group | parameters | learning rate | weight decay |
    |---|---|---|---|
    | `weights` | matrices, kernels, prompts | 1 x | yes |
    | `biases` | names ending in `bias` | `bias_lr_multiplier` x | 0 |
    | `undecayed` | norms, embeddings, temperatures, scalars | 1 x | 0 |
    | `head_weights` | matrices of the heads | `head_lr_multiplier` x | yes |
    | `head_others` | all else of the heads | `head_lr_multiplier` x | 0 |

    Learned temperatures are not heads: they start from a good value.

    With `layer_lr_decay` below 1, rates fall from the top of each tower to its bottom (ELECTRA, arXiv 2003.10555;
    BEiT, arXiv 2106.08254): layer l of L, the lowest being 1, has `layer_lr_decay ** (L - l)` times the rate above,
    what is below the layers `layer_lr_decay ** L` times, and what is above them 1. A group is then one of the table at
    one distance below the top, which the towers share.

    Args:
        named_parameters: name and parameter; those without `requires_grad` are skipped.
        learning_rate: above 0.
        weight_decay: 0 or more.
        bias_lr_multiplier: above 0; IRRA uses 2.
        head_lr_multiplier: above 0; IRRA uses 5 for its new modules.
        layer_lr_decay: above 0 and at most 1, which is off.
        head_prefixes: how the names of parameters that start from scratch begin.

    Returns:
        Non-empty groups with the keys `name`, `params`, `lr`, `weight_decay`, from the top down, at each distance in
        the order of the table. Below the top, names are such as `"weights, 3 below the top"`.

    Raises:
        ValueError: a number out of range, or nothing to train.
        TypeError: a setting is no number.
    """
    check_number("learning_rate", learning_rate, above=0)
    check_number("weight_decay", weight_decay, least=0)
    check_number("bias_lr_multiplier", bias_lr_multiplier, above=0)
    check_number("head_lr_multiplier", head_lr_multiplier, above=0)
    check_number("layer_lr_decay", layer_lr_decay, above=0, most=1)
    head_rate = learning_rate * head_lr_multiplier
    rates = {
        "weights": (learning_rate, weight_decay),
        "biases": (learning_rate * bias_lr_multiplier, 0.0),
        "undecayed": (learning_rate, 0.0),
        "head_weights": (head_rate, weight_decay),
        "head_others": (head_rate, 0.0),
    }
    named = list(named_parameters)
    distances = _distances_below_top([name for name, _ in named]) if layer_lr_decay < 1 else {}
    members: dict[tuple[int, str], list[nn.Parameter]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            group = _group_of(name, parameter, tuple(head_prefixes))
            members.setdefault((distances.get(name, 0), group), []).append(parameter)
    if not members:
        raise ValueError("No parameter requires a gradient: unfreeze what the stage shall train.")
    order = list(rates)
    groups = []
    for distance, group in sorted(members, key=lambda key: (key[0], order.index(key[1]))):
        rate, decay = rates[group]
        groups.append(
            {
                "name": f"{group}, {distance} below the top" if distance else group,
                "params": members[distance, group],
                "lr": rate * layer_lr_decay**distance,
                "weight_decay": decay,
            }
        )
    return groups


def _distances_below_top(names: Sequence[str]) -> dict[str, int]:
    """Count the layers above each parameter of a tower, from the names of all parameters, trained or not."""
    layers = {name: (match[1], int(match[2])) for name in names if (match := _LAYER.search(name))}
    counts: dict[str, int] = {}
    for tower, layer in layers.values():
        counts[tower] = max(counts.get(tower, 0), layer + 1)
    distances = {name: counts[tower] - layer - 1 for name, (tower, layer) in layers.items()}
    for name in names:
        match = _TOWER.search(name)
        if match and name not in layers and _BELOW_LAYERS.search(name, match.end()):
            distances[name] = counts.get(match[1], 0)
    return distances


def _group_of(name: str, parameter: nn.Parameter, head_prefixes: tuple[str, ...]) -> str:
    """The group of one parameter, by the table of `parameter_groups`."""
    if "log_temperatures" in name:
        return "undecayed"
    is_matrix = parameter.ndim >= 2 and not _UNDECAYED_NAMES.search(name)
    if name.startswith(head_prefixes):
        return "head_weights" if is_matrix else "head_others"
    if name.endswith("bias"):
        return "biases"
    return "weights" if is_matrix else "undecayed"


def build_optimizer(
    groups: list[dict[str, Any]],
    name: str = "adamw",
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> torch.optim.Optimizer:
    """An optimizer over groups from `parameter_groups`, with fused kernels where torch has them.

    Args:
        groups: parameter groups with their own `lr` and `weight_decay`.
        name: `"adamw"` (decoupled weight decay, arXiv 1711.05101) or `"adam"` (decay added to the gradient).
        betas: decay of the two moments, each in [0, 1).
        eps: above 0. IRRA's 1e-3 is for weights in fp16; ours stay in float32.

    Raises:
        ValueError: an unknown name or a number out of range.
        TypeError: an argument is no number.
    """
    if name not in _OPTIMIZERS:
        raise ValueError(f"optimizer is {name!r}: it must be one of {', '.join(_OPTIMIZERS)}.")
    for position, beta in enumerate(betas, start=1):
        check_number(f"beta {position}", beta, least=0, below=1)
    check_number("eps", eps, above=0)
    parameters = [parameter for group in groups for parameter in group["params"]]
    fused = all(p.device.type in _FUSED_DEVICES and p.is_floating_point() for p in parameters)
    # Each group has its own learning rate; the first argument keeps torch from wanting a default one.
    return _OPTIMIZERS[name](groups, betas=betas, eps=eps, fused=fused)


def warmup_cosine(
    step: int, *, warmup_steps: int, total_steps: int, start_factor: float = 0.1, final_factor: float = 0.0
) -> float:
    """Factor on the learning rate: a line up to 1, then half a cosine down (arXiv 1608.03983, equation 5, no restart).

    Args:
        step: optimizer steps already taken, 0 or more; from `total_steps` on the factor is `final_factor`.
        warmup_steps: length of the line, from 0 to `total_steps`.
        total_steps: length of the whole, 1 or more.
        start_factor: the factor at step 0, in [0, 1]; without warm-up it is not used.
        final_factor: the factor at the end, in [0, 1].

    Raises:
        ValueError: a number out of range.
        TypeError: an argument is no number.
    """
    check_integer("step", step, least=0)
    _check_schedule(warmup_steps, total_steps, start_factor, final_factor)
    if step >= total_steps:
        return final_factor
    if step < warmup_steps:
        return start_factor + (1 - start_factor) * step / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return final_factor + (1 - final_factor) * (1 + math.cos(math.pi * progress)) / 2


def build_schedule(
    optimizer: torch.optim.Optimizer,
    *,
    warmup_steps: int,
    total_steps: int,
    start_factor: float = 0.1,
    final_factor: float = 0.0,
) -> LambdaLR:
    """`warmup_cosine` on every group's learning rate; call its `step()` once after each optimizer step.

    Raises ValueError, TypeError: as `warmup_cosine`.
    """
    _check_schedule(warmup_steps, total_steps, start_factor, final_factor)
    factor = partial(
        warmup_cosine,
        warmup_steps=warmup_steps,
        total_steps=total_steps,
        start_factor=start_factor,
        final_factor=final_factor,
    )
    return LambdaLR(optimizer, factor)


def stage_optimizer(
    args: TwoStageTrainingArguments, stage: StageSettings, module: nn.Module, total_steps: int
) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """The optimizer of a stage's trainable parameters, and the schedule of its learning rates."""
    groups = parameter_groups(
        module.named_parameters(),
        learning_rate=stage.learning_rate,
        weight_decay=stage.weight_decay,
        bias_lr_multiplier=args.bias_lr_multiplier,
        head_lr_multiplier=args.head_lr_multiplier,
        layer_lr_decay=args.layer_lr_decay if stage.name == "two" else 1.0,
    )
    betas = args.adam_beta1, args.adam_beta2
    optimizer = build_optimizer(groups, name=args.optimizer, betas=betas, eps=args.adam_epsilon)
    schedule = build_schedule(
        optimizer,
        warmup_steps=math.ceil(stage.warmup_ratio * total_steps),
        total_steps=total_steps,
        start_factor=args.warmup_start,
    )
    return optimizer, schedule


def _check_schedule(warmup_steps: int, total_steps: int, start_factor: float, final_factor: float) -> None:
    """Refuse a schedule that `warmup_cosine` does not define."""
    check_integer("total_steps", total_steps, least=1)
    check_integer("warmup_steps", warmup_steps, least=0)
    if warmup_steps > total_steps:
        raise ValueError(f"warmup_steps is {warmup_steps} of {total_steps} total_steps: warm up for fewer steps.")
    check_number("start_factor", start_factor, least=0, most=1)
    check_number("final_factor", final_factor, least=0, most=1)


__all__ = ["build_optimizer", "build_schedule", "parameter_groups", "stage_optimizer", "warmup_cosine"]
