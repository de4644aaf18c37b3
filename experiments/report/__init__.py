"""The report: one self-contained HTML file of a run, made from its rows, its figures and its settings."""

from pathlib import Path

from rich.console import Console

from ...pipeline.files.text import write_text
from ..outputs.study_result import rebuild
from .page import build_page, render

__all__ = ["write_report"]


def write_report(run_path: Path, console: Console | None = None, out: Path | None = None) -> Path:
    """Write tables, statistics and figures of a run again, then the page ``out`` (``report.html`` in its folder).

    Returns the path of the page.

    Raises:
        InputError: no run there, no complete trial in it, a damaged file of a figure, or ``out`` cannot be written.
    """
    result = rebuild(run_path, console)
    return write_text(out or run_path / "report.html", render(build_page(result)))
