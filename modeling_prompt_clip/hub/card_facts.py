"""Facts about a model that its card reports; the rest is in the template."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["DataSource", "ModelCardFacts", "Snippet", "Table"]


@dataclass(frozen=True)
class Snippet:
    """Python lines that load the model.

    Attributes:
        lead: when to use them; a line that ends with a colon.
        code: which leaves `model` and `processor`.
    """

    lead: str
    code: str


@dataclass(frozen=True)
class DataSource:
    """A data set that the model learned from.

    Attributes:
        name: as people write it.
        terms: sentences on where it comes from and what may be done with it.
        homepage: its page; empty where there is none.
        citation: BibTeX; empty where there is none.
    """

    name: str
    terms: str
    homepage: str = ""
    citation: str = ""


@dataclass(frozen=True)
class Table:
    """Figures, and what they say.

    Attributes:
        lead: a sentence or two that come before.
        columns: headings; those after `labels` are set to the right.
        rows: cells, as many as headings.
        labels: how many columns at the left hold words.
        remarks: paragraphs that come after.
    """

    lead: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 1
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelCardFacts:
    """A model's facts for its card: plain names and cells, sentences in Markdown.

    Empty facts are left out or reported as unknown.

    Attributes:
        name: title of the card.
        summary: paragraph: base model, method, purpose.
        details: input, output and size, by heading.
        loading: ways to load the model.
        image_size: (height, width) in pixels.
        sources: training data sets.
        data_notes: further sentences on the data.
        recipe: points on the training.
        repeat: sentence on repeating the training.
        results: tables.
        protocol: how results were measured and weights selected.
        not_measured: paragraph on what was not measured.
        drawn: whether it was trained only on drawn pictures, and so knows nothing about people.
        environment: sentence on machine and versions.
    """

    name: str
    summary: str
    loading: tuple[Snippet, ...]
    image_size: tuple[int, int]
    details: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    sources: tuple[DataSource, ...] = ()
    data_notes: tuple[str, ...] = ()
    recipe: tuple[str, ...] = ()
    repeat: str = ""
    results: tuple[Table, ...] = ()
    protocol: str = ""
    not_measured: str = ""
    drawn: bool = False
    environment: str = ""
