"""The `datasets` builder of Parquet shards, with errors that name the shard."""

from collections.abc import Iterator

import pyarrow as pa
from datasets.builder import Key
from datasets.packaged_modules.parquet.parquet import Parquet

from dataset_scripts.builders.image_features import check_stored_images

__all__ = ["PersonSearchParquet"]


class PersonSearchParquet(Parquet):
    """Read shards like `Parquet` of `datasets`, naming a damaged one.

    Attributes:
        refuse_outside: refuse rows whose image is not in their shard, while reading.
    """

    refuse_outside = False

    def _generate_tables(
        self, files: list[str], row_groups_list: list[tuple[int, ...] | None]
    ) -> Iterator[tuple[Key, pa.Table]]:
        for number, (file, row_groups) in enumerate(zip(files, row_groups_list, strict=True)):
            row = 0
            try:
                for key, table in super()._generate_tables([file], [row_groups]):
                    if self.refuse_outside and "image" in table.column_names:
                        check_stored_images(table.column("image"), f"shard {file}", row)
                    row += table.num_rows
                    yield Key(number, key.item_or_batch_id), table
            except (OSError, pa.ArrowInvalid) as error:
                raise OSError(
                    f"shard {file} is damaged ({error}). Run prompt-clip data convert again, or copy it again."
                ) from error
