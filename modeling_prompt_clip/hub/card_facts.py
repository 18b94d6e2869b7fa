"""Facts about a model for its card."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["DataSource", "ModelCardFacts", "Snippet", "Table"]


@dataclass(frozen=True)
class Snippet:
    """Python lines that load the model."""

    lead: str  # when to use them; a line that ends with a colon
    code: str  # which leaves `model` and `processor`


@dataclass(frozen=True)
class DataSource:
    """A training data set."""

    name: str  # as people write it
    terms: str  # sentences on where it comes from and what may be done with it
    homepage: str = ""  # its page; empty where there is none
    citation: str = ""  # BibTeX; empty where there is none


@dataclass(frozen=True)
class Table:
    """A table of figures with its explanations."""

    lead: str  # a sentence or two that come before
    columns: tuple[str, ...]  # headings; those after `labels` are set to the right
    rows: tuple[tuple[str, ...], ...]  # cells, as many as headings
    labels: int = 1  # how many columns at the left hold words
    remarks: tuple[str, ...] = ()  # paragraphs that come after


@dataclass(frozen=True)
class ModelCardFacts:
    """Facts for a model's card: plain names and cells, sentences in Markdown.

    Empty facts are left out or reported as unknown.
    """

    name: str  # title of the card
    summary: str  # paragraph: base model, method, purpose
    loading: tuple[Snippet, ...]  # ways to load the model
    image_size: tuple[int, int]  # (height, width) in pixels
    # input, output and size, by heading
    details: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    sources: tuple[DataSource, ...] = ()  # training data sets
    data_notes: tuple[str, ...] = ()  # further sentences on the data
    recipe: tuple[str, ...] = ()  # points on the training
    repeat: str = ""  # sentence on repeating the training
    results: tuple[Table, ...] = ()  # tables
    protocol: str = ""  # how results were measured and weights selected
    not_measured: str = ""  # paragraph on what was not measured
    drawn: bool = False  # whether it was trained only on drawn pictures, and so knows nothing about people
    environment: str = ""  # sentence on machine and versions
