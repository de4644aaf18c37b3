"""Commands for a run: status, figures, report, archive, recommend."""

from pathlib import Path
from typing import Annotated

import typer

from ...pipeline.images.output_paths import check_output
from ...transforms.basics.errors import InputError
from .common import ONE_LIMIT, Accuracy, MaxFolding, MaxSDlogJ, RunName, echo, find_run, read_limit


def status(run: RunName) -> None:
    """Show the state of each trial of a run, also while the run is in progress.

    Example:
        smoothmorph status demo
    """
    path = find_run(run)
    from ..outputs.study_result import status as show_status

    show_status(path)


Others = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[OTHER]...",
        show_default=False,
        help="Runs with the same test pairs, such as `baselines`; their complete trials are copied into RUN first.",
    ),
]


def figures(run: RunName, others: Others = None) -> None:
    """Write the tables and figures of a run again, from its rows; exit code 1 if a trial failed.

    Example:
        smoothmorph figures demo
    """
    path = _grown(run, others)
    from ..outputs.study_result import rebuild

    result = rebuild(path)
    for path in result.figures:
        echo(path)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def report(
    run: RunName,
    others: Others = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file to write; default: RUN/report.html.")] = None,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open the report in the browser.")] = False,
) -> None:
    """Write the tables, the figures and the report of a run, from its rows; the report is one HTML file.

    Example:
        smoothmorph report demo --out demo.html
    """
    if out is not None:
        check_output(out, (".html", ".htm"))
    path = _grown(run, others)
    from ..report import write_report

    written = write_report(path, out=out)
    echo(written)
    if open_it:
        typer.launch(str(written))


def archive(
    run: RunName,
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write; it is a run again.")],
    pairs: Annotated[int, typer.Option(min=0, help="Example pairs per configuration to keep for the figures.")] = 1,
) -> None:
    """Archive a finished run without its models: rows, histories, tables and figures, small enough to commit.

    Example:
        smoothmorph archive demo demo-archive
    """
    source = find_run(run)
    from ..store.run_folder import check_place, open_run

    if out.resolve() == source.resolve():
        raise InputError(f"{out} is the run itself; choose another folder for the archive.")
    check_place(out, open_run(source).study, "choose another folder for the archive")
    from ..outputs.study_result import archive as keep

    for path in keep(source, out, pairs).figures:
        echo(path)


def recommend(
    run: RunName,
    max_folding: MaxFolding = None,
    max_sdlogj: MaxSDlogJ = None,
    accuracy: Accuracy = None,
) -> None:
    """Recommend the most accurate penalty, λ and model of a run, within a limit on folding or SDlogJ.

    Example:
        smoothmorph recommend demo --max-sdlogj 0.3
    """
    limit = read_limit(max_folding, max_sdlogj)
    if limit is None:
        raise InputError(ONE_LIMIT)
    path = find_run(run)

    from rich.console import Console

    from ..outputs.study_result import complete_trials
    from ..outputs.tables import collect
    from ..outputs.terminal_tables import recommendation_view
    from ..statistics import recommend as choose
    from ..store.run_folder import open_run

    console, opened = Console(), open_run(path)
    rows = collect(opened, complete_trials(opened, console).complete)
    found = choose(rows, limit, accuracy)
    alike = [trial for trial in opened.trials.values() if trial.is_at(found.best["penalty"], found.best["lambda"])]
    every_weight = all(trial.takes_every_weight for trial in alike)
    console.print(recommendation_view(found, limit, every_weight), soft_wrap=False)


def _grown(name: str, others: list[str] | None) -> Path:
    """The folder of a run, after the complete trials of the other runs were copied into it."""
    path, guests = find_run(name), [find_run(other) for other in others or ()]
    for guest in guests:
        from ..store.joining import join

        join(path, guest)
    return path
