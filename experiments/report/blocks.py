"""The parts of a page: sections of blocks. The template turns each ``kind`` into HTML."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar


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


@dataclass(frozen=True)
class ShownPair:
    """One registered pair: ``moving onto fixed``, and its numbers.

    Attributes:
        pair: both images by name.
        images: the places of its pictures in `Explorer.images`, in the order of `Explorer.panels`.
        smoothness: the measure at which penalties are compared; None if it was not measured.
        numbers: for each of `Explorer.metrics` the value before and after registration, as text.
    """

    pair: str
    images: Sequence[int]
    smoothness: float | None
    numbers: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Choice:
    """One penalty or method in one setting: its λ as text (empty: it has none), and for each λ the pairs."""

    name: str
    setting: str
    weights: Sequence[str]
    shown: Sequence[Sequence[ShownPair]]


@dataclass(frozen=True)
class Explorer:
    """Example pairs under every λ, penalty and setting; controls on the page choose which one is shown."""

    title: str
    intro: str
    caption: str
    names_label: str  # what `names` are
    panels: Sequence[str]
    metrics: Sequence[str]
    images: Sequence[str]  # data URIs; each picture once
    choices: Sequence[Choice]
    key: str  # a data URI: the colour bar of the determinants
    kind: ClassVar[str] = "explorer"

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(choice.name for choice in self.choices))

    @property
    def pairs(self) -> int:
        return len(self.choices[0].shown[0])

    @property
    def first(self) -> int:
        """The place of the λ that is shown first: the middle one of the first choice."""
        return len(self.choices[0].weights) // 2

    @property
    def start(self) -> ShownPair:
        return self.choices[0].shown[self.first][0]

    @property
    def has_slider(self) -> bool:
        return any(len(choice.weights) > 1 for choice in self.choices)

    @property
    def content(self) -> dict[str, Any]:
        """What the script of the page needs."""
        return {"images": self.images, "panels": self.panels, "choices": [asdict(choice) for choice in self.choices]}


Block = Words | Terms | Code | Table | Figure | Explorer


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
