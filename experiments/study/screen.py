"""Text for a terminal. Text of users and of their files is shown literally: no markup, no control characters."""

from rich.console import Console
from rich.text import Text

from ...transforms.basics.errors import printable


def plain(text: object, style: str = "") -> Text:
    """The text of a cell, a title or a line."""
    return Text(printable(text), style)


def say(console: Console, text: object, style: str = "") -> None:
    """Print one line; the terminal may wrap it."""
    console.print(plain(text, style), soft_wrap=True)
