"""What a page is made of: sections of blocks. The template draws each ``kind``; nothing here knows HTML."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class Words:
    """Paragraphs, or a list with a point each."""

    paragraphs: Sequence[str]
    points: bool = False
    kind: ClassVar[str] = "words"


@dataclass(frozen=True)
class Terms:
    """Terms and what is to be said of each."""

    items: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "terms"


@dataclass(frozen=True)
class Code:
    """Commands to type, or a file to look into."""

    title: str
    text: str
    folded: bool = False
    file: str = ""  # offered for download under this name
    kind: ClassVar[str] = "code"

    @property
    def download(self) -> str:
        return data_uri("text/plain;charset=utf-8", self.text.encode())


@dataclass(frozen=True)
class Cell:
    """``value`` is what a number sorts by; a cell without one sorts by its text, an empty one last."""

    text: str = ""
    small: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Column:
    heading: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """Lines of cells; those of ``first`` stay on top however the others are sorted."""

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
    """A picture as a data URI, how to read it, and the numbers in it."""

    name: str
    title: str
    source: str
    alt: str
    caption: str = ""
    numbers: Table | None = None
    width: int | None = None  # on the page, in pixels; its own if None
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
    """``content`` as a link that needs no file and no network."""
    return f"data:{kind};base64,{b64encode(content).decode()}"
