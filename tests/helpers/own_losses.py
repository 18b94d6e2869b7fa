"""Losses of one's own, right and wrong, as settings name them."""

import itertools

import torch

_calls = itertools.count()


def soft_triplet(image_embeds, text_embeds, person_ids, **context):
    """Softplus of each other person's cosine over the own pair's."""
    cosines = image_embeds @ text_embeds.T
    others = person_ids[:, None] != person_ids[None, :]
    return torch.nn.functional.softplus((cosines - cosines.diagonal()[:, None]) * others / 0.1).mean()


def with_context(image_embeds, text_embeds, person_ids, *, image_ids, labels):
    assert image_embeds.dtype == text_embeds.dtype == torch.float32
    assert len(image_ids) == len(labels) == len(person_ids) == len(image_embeds)
    return (1 - (image_embeds * text_embeds).sum(1)).mean()


def no_context(image_embeds, text_embeds, person_ids):
    return (image_embeds * text_embeds).sum()


def by_row(image_embeds, text_embeds, person_ids, **context):
    return (image_embeds * text_embeds).sum(1)


def a_number(image_embeds, text_embeds, person_ids, **context):
    return 0.5


def infinite(image_embeds, text_embeds, person_ids, **context):
    return (image_embeds * text_embeds).sum() / 0


def detached(image_embeds, text_embeds, person_ids, **context):
    return (image_embeds.detach() * text_embeds.detach()).sum()


def steep(image_embeds, text_embeds, person_ids, **context):
    return (image_embeds - image_embeds).abs().sum(1).sqrt().sum()


def diverging(image_embeds, text_embeds, person_ids, **context):
    """Finite where it is tried before training, and a little longer."""
    return (image_embeds * text_embeds).sum() * (float("nan") if next(_calls) > 5 else 1)
