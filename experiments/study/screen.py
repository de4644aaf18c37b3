"""What reaches a terminal: the text of users and of their files as it is, never taken for markup or for control."""

from rich.console import Console
from rich.text import Text

from ...transforms.basics.errors import printable


def plain(text: object, style: str = "") -> Text:
    """A cell, a title or a line of its own."""
    return Text(printable(text), style)


def say(console: Console, text: object, style: str = "") -> None:
    """Print a line, which the terminal may wrap."""
    console.print(plain(text, style), soft_wrap=True)
