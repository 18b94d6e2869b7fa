"""Card of a converted data set (README.md): contents, terms, prohibited uses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from datasets import DatasetInfo, Features, Image, SplitDict, SplitInfo
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData

from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES
from dataset_scripts.common.text.markdown import as_link, as_text, fenced, is_address, one_line

if TYPE_CHECKING:
    from dataset_scripts.parquet.manifest import Manifest

__all__ = ["CARD", "dataset_card"]

CARD = "README.md"
"""Name of the card in the folder of a conversion."""

_BODY = """# {name}

{description}

A person-search set: sentences describe people, and each sentence is to find the images of the person that it
describes. Stored as Parquet with the images inside, by `prompt-clip data convert` (pyarrow {pyarrow}).

## Terms

{terms}

## What is in it

| split | persons | images | captions | cameras | shards |
|---|---:|---:|---:|---:|---:|
{counts}

| column | type | meaning |
|---|---|---|
| `image` | image | one person, {images} |
| `image_id` | string | name of the image in the source |
| `person_id` | int64 | identity, as in the source |
| `captions` | list of strings | sentences that describe the image, one or more, as `load_person_search` gives them |
| `camera` | string or null | where the set tells it |

{processing}

## How to load it

```python
from datasets import load_dataset

splits = load_dataset("parquet", data_dir="data")  # in this folder
```

From elsewhere `load_dataset` takes the path of this folder, and from the Hub the name of its repository. With
PromptCLIP:

```python
from dataset_scripts import load_person_search

train = load_person_search("parquet", ".", split="train", streaming=True)  # in this folder
```

`conversion.json` holds the number of rows and the SHA-256 of every shard.

## What it must not be used for

- Not for identifying, following or profiling people without a legal basis and, where the law asks for it, consent; not
  for law enforcement, border control, employment or retail profiling; not to search by ethnicity, religion, health or
  other protected attributes; not for any automatic decision about a person. In the European Union remote biometric
  identification is prohibited or high-risk under the AI Act, and GDPR applies. Re-identification by clothing is still
  tracking of persons.
- Images of real people in sets of this kind were mostly taken by surveillance-type cameras without the consent of
  those shown. Keep copies no longer than needed, let nobody reach them who need not, and delete them on request. The
  withdrawal of DukeMTMC in 2019, a set of this kind found in surveillance uses, is why this section exists.
- Captions and cameras are biased in dress, season, place and demographics, and so is what is trained on them.
"""

_OPEN = "{terms}, which lets anybody publish a copy."
_CLOSED = """{terms}.{homepage}

**Do not publish this set, or any part of it, unless the licence of its source allows it.** It shows people, and a
copy in a public place cannot be taken back. The conversion changes nothing about the terms of the source, which bind
everybody who gets a copy."""
_NO_TERMS = "The source states none: find them out before you use the set"

_ORIGINAL = "Images are the files of the source, unchanged."
_RESIZED = """Images were decoded, turned as their EXIF data say, resized once to {height}x{width} pixels (height x
width, Pillow's bicubic filter) and saved as JPEG of quality {quality} with colours at full resolution, in all splits
alike, evaluation splits included. JPEG changes pixels a little: figures measured on these images differ slightly from
those on the original files, and cannot be compared to the last digit."""


def dataset_card(manifest: Manifest) -> str:
    """Write the card of a finished conversion: YAML for the Hub, and Markdown.

    Raises ValueError if a shard is not finished.
    """
    if unfinished := [name for name, record in manifest.shards.items() if record is None]:
        raise ValueError(f"shard {unfinished[0]} is not finished. Write the card of a finished conversion.")
    source = manifest.source
    body = _BODY.format(
        name=as_text(source.name),
        description=as_text(source.description) or "The source gives no description of itself.",
        pyarrow=as_text(manifest.settings.pyarrow),
        terms=_terms(manifest),
        counts="\n".join(_counts(manifest)),
        images="as in the source" if manifest.settings.image_size is None else "resized as said below",
        processing=_processing(manifest),
    )
    citation = f"\n## Citation\n\n{fenced(source.citation, 'bibtex')}\n" if source.citation else ""
    return f"---\n{_front_matter(manifest).to_yaml()}\n---\n\n{body}{citation}"


def _front_matter(manifest: Manifest) -> DatasetCardData:
    source = manifest.source
    licence = {"license": source.open_licence} if source.open_licence else {"license": "other"}
    if not source.open_licence:
        licence["license_name"] = re.sub(r"[^a-z0-9.-]+", "-", f"{source.name}-terms".lower()).strip("-")
        if is_address(source.homepage):
            licence["license_link"] = source.homepage
    data = DatasetCardData(
        language="en",
        pretty_name=one_line(source.name),
        tags=["person-re-identification", "text-based-person-search", "text-to-image-retrieval"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}-*"} for name in manifest.splits],
            }
        ],
        **licence,
    )
    splits = SplitDict()
    for name, split in manifest.splits.items():
        table_bytes = sum(record.table_bytes for record in manifest.shards_of(name).values())
        splits.add(SplitInfo(name, num_bytes=table_bytes, num_examples=split.images))
    info = DatasetInfo(
        features=Features({**PERSON_SEARCH_FEATURES, "image": Image(mode="RGB")}),
        splits=splits,
        download_size=sum(record.file_bytes for record in manifest.shards.values()),
        dataset_size=sum(split.num_bytes for split in splits.values()),
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)
    return data


def _terms(manifest: Manifest) -> str:
    source = manifest.source
    if source.open_licence:
        return _OPEN.format(terms=as_text(source.terms))
    homepage = f" Source: {as_link(source.homepage)}." if source.homepage else ""
    return _CLOSED.format(terms=as_text(source.terms.rstrip(".")) or _NO_TERMS, homepage=homepage)


def _counts(manifest: Manifest) -> list[str]:
    return [
        f"| {as_text(name)} | {split.persons:,} | {split.images:,} | {split.captions:,} "
        f"| {split.cameras or 'not told'} "
        f"| {len(manifest.shards_of(name)):,} |"
        for name, split in manifest.splits.items()
    ]


def _processing(manifest: Manifest) -> str:
    settings = manifest.settings
    if settings.image_size is None:
        return _ORIGINAL
    height, width = settings.image_size
    return _RESIZED.format(height=height, width=width, quality=settings.quality)
