"""The parts of a page: sections of blocks. The template turns each ``kind`` into HTML."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class Words:
    """Paragraphs, or a list of points."""

    paragraphs: Sequence[str]
    points: bool = False
    kind: ClassVar[str] = "words"


@dataclass(frozen=True)
class Terms:
    """A list of terms and their explanations."""

    items: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "terms"


@dataclass(frozen=True)
class Code:
    """Commands, or the text of a file."""

    title: str
    text: str
    folded: bool = False
    file: str = ""  # the name of the download; empty: no download
    kind: ClassVar[str] = "code"

    @property
    def download(self) -> str:
        return data_uri("text/plain;charset=utf-8", self.text.encode())


@dataclass(frozen=True)
class Cell:
    """A cell sorts by ``value``, or by its text if it has none; empty cells come last."""

    text: str = ""
    small: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Column:
    heading: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """Lines of cells; the lines of ``first`` stay on top when the others are sorted."""

    name: str
    title: str
    columns: Sequence[Column]
    lines: Sequence[Sequence[Cell]]
    first: Sequence[Sequence[Cell]] = ()
    note: str = ""
    csv: str = ""  # a data URI, in full precision
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Figure:
    """A picture (``source``: a data URI), how to read it (``caption``), and a table of its numbers."""

    name: str
    title: str
    source: str
    alt: str
    caption: str = ""
    numbers: Table | None = None
    width: int | None = None  # on the page, in pixels; None: the width of the picture
    kind: ClassVar[str] = "figure"


Block = Words | Terms | Code | Table | Figure


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    question: str
    facts: str
    sections: Sequence[Section]
    warnings: Sequence[str] = field(default_factory=tuple)


def data_uri(kind: str, content: bytes) -> str:
    """``content`` as a link that needs neither file nor network."""
    return f"data:{kind};base64,{b64encode(content).decode()}"
