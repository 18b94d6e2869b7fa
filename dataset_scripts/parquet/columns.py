"""The columns that a person-search set must have."""

from collections.abc import Sequence

import datasets
import pyarrow as pa

from dataset_scripts.builders.image_features import EmbeddedImage
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES

__all__ = ["Rows", "Splits", "check_schema", "with_features"]

Rows = datasets.Dataset | datasets.IterableDataset
Splits = datasets.DatasetDict | datasets.IterableDatasetDict


def check_schema(schema: pa.Schema, where: str) -> None:
    """Raise ValueError for missing, repeated or wrongly typed columns."""
    if missing := [column for column in PERSON_SEARCH_FEATURES if column not in schema.names]:
        raise ValueError(
            f"{where} has no column {', '.join(missing)} (it has {', '.join(schema.names) or 'none'}). "
            f"A person-search set has {', '.join(PERSON_SEARCH_FEATURES)}: rename or add them."
        )
    for column, (fits, meaning) in _COLUMN_TYPES.items():
        if schema.names.count(column) > 1:
            raise ValueError(f"{where} has the column {column} more than once. Rename all but one.")
        kind = schema.field(column).type
        if not fits(kind):
            raise ValueError(f"{where}: column {column} is of type {kind}, but must be {meaning}.")


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_text_or_null(kind: pa.DataType) -> bool:
    return _is_text(kind) or pa.types.is_null(kind)


def _is_list_of_text(kind: pa.DataType) -> bool:
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_text(kind.value_type)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_image(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind) or sorted(field.name for field in kind) != ["bytes", "path"]:
        return _is_bytes(kind)
    # Where no row has bytes, their type is null: that is refused by row.
    content = kind.field("bytes").type
    return (_is_bytes(content) or pa.types.is_null(content)) and _is_text_or_null(kind.field("path").type)


_COLUMN_TYPES = {
    "image": (_is_image, "the bytes of an image file, or a struct of bytes and path, as datasets.Image stores it"),
    "image_id": (_is_text, "text"),
    "person_id": (pa.types.is_integer, "a whole number"),
    "captions": (_is_list_of_text, "a list of texts"),
    "camera": (_is_text_or_null, "text or null"),
}


def with_features(rows: Rows, where: str, parts: Sequence[tuple[str, int]] = ()) -> Rows:
    """Give rows this package's features: RGB images, errors that name the image.

    `parts` are those of `EmbeddedImage`. Raises ValueError for a missing or wrongly typed column.
    """
    check_schema(rows.features.arrow_schema, where)
    if rows.column_names != list(PERSON_SEARCH_FEATURES):
        rows = rows.select_columns(list(PERSON_SEARCH_FEATURES))
    if rows.features.type != PERSON_SEARCH_FEATURES.type:
        rows = rows.cast(_features(parts))
    # What comes from Parquet or the cache knows its images as plain `datasets.Image`.
    rows.info.features = _features(parts)
    return rows


def _features(parts: Sequence[tuple[str, int]]) -> datasets.Features:
    image = EmbeddedImage()
    image.parts = list(parts)
    return datasets.Features({**PERSON_SEARCH_FEATURES, "image": image})
