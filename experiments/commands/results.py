"""Commands that start from a run: status, figures, report, join, archive, recommend."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ...pipeline.evaluation.metrics.regularity import FOLDING, SDLOGJ
from ...pipeline.evaluation.vocabulary import METRICS
from .common import RunName, echo, find_run

COMPARED = [*METRICS.of_role("accuracy"), *METRICS.of_role("similarity")]


def status(run: RunName) -> None:
    """Show how far each trial of a run is, also while it is going on."""
    from ..outputs.study_result import status as show_status

    show_status(find_run(run))


def figures(run: RunName) -> None:
    """Write the tables and figures of a run again, from its rows; exit code 1 if a trial failed."""
    from ..outputs.study_result import rebuild

    result = rebuild(find_run(run))
    for path in result.figures:
        echo(path)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def report(
    run: RunName,
    out: Annotated[Path | None, typer.Option(help="The HTML file; by default RUN/report.html.")] = None,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = False,
) -> None:
    """Write tables, figures and one self-contained HTML report of a run, from its rows."""
    from ...pipeline.images.output_paths import check_output
    from ..report import write_report

    if out is not None:
        check_output(out, (".html", ".htm"))
    written = write_report(find_run(run), out=out)
    echo(written)
    if open_it:
        typer.launch(str(written))


def join(
    run: RunName,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="The run whose trials are taken in.")],
) -> None:
    """Take the trials of another run, such as `baselines`, into RUN, and write its tables and figures again.

    Both must be measured on the same test pairs. OTHER stays as it is.
    """
    from ..outputs.study_result import rebuild
    from ..store.joining import join as take_in

    for path in rebuild(take_in(find_run(run), find_run(other)).path).figures:
        echo(path)


def archive(
    run: RunName,
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to keep it; it is a run again.")],
    pairs: Annotated[
        int, typer.Option(min=0, help="Example pairs of each configuration to keep, for the figures.")
    ] = 1,
) -> None:
    """Keep a finished run without its models: rows, histories, tables and figures, small enough to be committed."""
    from ..outputs.study_result import archive as keep

    for path in keep(find_run(run), out, pairs).figures:
        echo(path)


def recommend(
    run: RunName,
    max_folding: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Most folding of the displacement, e.g. 0.1%.")
    ] = None,
    max_sdlogj: Annotated[float | None, typer.Option(help="Largest SDlogJ of the displacement, e.g. 0.25.")] = None,
    accuracy: Annotated[
        str | None, typer.Option(help=f"{', '.join(COMPARED)}; by default the first that was measured.")
    ] = None,
) -> None:
    """Say which penalty, λ and model of a run to use where the deformation may only be so rough."""
    from rich.console import Console

    from ..outputs.study_result import judge
    from ..outputs.tables import collect
    from ..outputs.terminal_tables import recommendation_view
    from ..statistics import recommend as choose
    from ..store.run_folder import open_run

    limit, console, opened = _limit(max_folding, max_sdlogj), Console(), open_run(find_run(run))
    rows = collect(opened, judge(opened, console).complete)
    console.print(recommendation_view(choose(rows, limit, accuracy), limit), soft_wrap=False)


def _limit(max_folding: str | None, max_sdlogj: float | None) -> Any:
    from ...transforms.basics.errors import InputError, quoted
    from ..statistics import Limit

    if (max_folding is None) == (max_sdlogj is None):
        raise InputError("give one limit, either --max-folding, such as 0.1%, or --max-sdlogj, such as 0.25.")
    if max_sdlogj is not None:
        return Limit(SDLOGJ, max_sdlogj)
    try:
        percent = float(str(max_folding).removesuffix("%"))
    except ValueError:
        raise InputError(f"--max-folding {quoted(max_folding)[1:-1]}: expected a percentage, such as 0.1%.") from None
    return Limit(FOLDING, percent)
