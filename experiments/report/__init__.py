"""The report of a run: one self-contained HTML file, made from its rows, figures and settings."""

from pathlib import Path

from rich.console import Console

from ...pipeline.files.text import write_text
from ..outputs.study_result import rebuild
from .page import build_page, render

__all__ = ["write_report"]


def write_report(run_path: Path, console: Console | None = None, out: Path | None = None) -> Path:
    """Write tables, statistics and figures of a run again, then the page.

    Args:
        run_path: folder of the run.
        console: where to print; default: the standard output.
        out: the HTML file; default: ``report.html`` in the folder of the run.

    Returns:
        the path of the page.

    Raises:
        InputError: ``run_path`` holds no run or no complete trial, a file of example pairs is damaged, or ``out``
            cannot be written.
    """
    result = rebuild(run_path, console)
    return write_text(out or run_path / "report.html", render(build_page(result)))
