"""The command line. Heavy modules are imported inside the commands, so that ``--help`` answers at once."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="smoothmorph",
    help="A laboratory for smoothness regularization in learned deformable registration.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Check and fetch data.", no_args_is_help=True)
app.add_typer(data, name="data")

RUNS = Path("runs")
StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="A built-in study (demo, fast, published) or a .yaml file.")
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run, or its name under runs/.")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Set a key in every trial, e.g. training.epochs=3.")
]


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """A user's mistake, or a file that cannot be used, is one line and exit code 2; Ctrl-C is exit code 130.

    Anything else is a fault of ours.
    """

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            typer.echo("interrupted; what is complete is kept: give the same command again to go on.", err=True)
            raise typer.Exit(130) from None
        except ValueError as error:
            from ..transforms.errors import InputError

            if not isinstance(error, InputError):
                raise
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from None
        except BrokenPipeError:  # `smoothmorph show ... | head`: typer ends quietly
            raise
        except OSError as error:
            file = f"{error.filename}: " if error.filename is not None else ""
            advice = "see to its permissions and the free space, then run again"
            typer.echo(f"error: {file}{error.strerror or error}; {advice}.", err=True)
            raise typer.Exit(2) from None

    return guarded


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"smoothmorph {version('smoothmorph')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train VoxelMorph under smoothness penalties, measure what they do, and draw it."""


@app.command()
@_guarded
def run(
    study: StudyName,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the cohort's files.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at once; by default as fits.")] = None,
    overrides: Overrides = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder of the run; by default runs/<study>.")] = None,
) -> None:
    """Run a study: only the trials that are missing, then tables and figures."""
    from .runner import run_study
    from .study import load_study

    loaded = load_study(study, overrides)
    result = run_study(loaded, out or RUNS / loaded.name, data_root, workers)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


@app.command()
@_guarded
def status(run: RunName) -> None:
    """Show how far each trial of a run is, also while it is going on."""
    from .runner import status as show_status

    show_status(_find_run(run))


@app.command()
@_guarded
def figures(run: RunName) -> None:
    """Write the tables and figures of a run again, from its rows; exit code 1 if a trial failed."""
    from .runner import rebuild

    result = rebuild(_find_run(run))
    for path in result.figures:
        typer.echo(path)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


@app.command()
@_guarded
def show(
    study: StudyName,
    overrides: Overrides = [],  # noqa: B006
    yaml: Annotated[bool, typer.Option("--yaml", help="Print a study file with every setting instead.")] = False,
) -> None:
    """Show the trials of a study, with every setting resolved, without running them."""
    from .study import load_study
    from .views import study_view

    loaded = load_study(study, overrides)
    if yaml:
        sys.stdout.write(loaded.to_yaml())
        return
    from rich.console import Console

    Console().print(study_view(loaded))


@app.command()
@_guarded
def bench(
    cases: Annotated[list[str] | None, typer.Argument(metavar="[CASE]...", help="Only these cases.")] = None,
    out: Annotated[Path | None, typer.Option(help="The JSON file; by default benchmarks/results/bench.json.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="By default all cores.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny grids: see that it works, measure nothing.")] = False,
) -> None:
    """Measure speed and memory against official VoxelMorph."""
    from rich.console import Console

    from .benchmark import run_bench
    from .executors import available_cores

    out = out or Path("benchmarks/results") / ("bench_quick.json" if quick else "bench.json")
    run_bench(out, cases or [], device, threads or available_cores(), quick, Console())


@data.command("check")
@_guarded
def data_check(
    cohort: Annotated[str, typer.Argument(metavar="COHORT", help="phantom, neurite-oasis, decathlon or table.")],
    root: Annotated[Path | None, typer.Option("--root", help="Folder of the data.")] = None,
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="A setting of the cohort, e.g. cohort.labels=seg24.")
    ] = [],  # noqa: B006
) -> None:
    """Read every subject of a cohort and tell what is there and what is wrong; exit code 1 if a subject is faulty."""
    from ..pipeline.checks import check_cohort
    from .board import counting
    from .study import cohort_settings

    with counting(f"reading {cohort}") as progress:
        report = check_cohort(cohort_settings(cohort, overrides), root, progress)
    typer.echo(report.to_text())
    if not report.ok:
        raise typer.Exit(1)


@data.command("fetch")
@_guarded
def data_fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="neurite-oasis-2d or hippocampus.")],
    to: Annotated[Path, typer.Option(help="Folder to fetch into.")] = Path("data"),
    sha256: Annotated[str | None, typer.Option(help="Checksum that the archive must have.")] = None,
) -> None:
    """Download and unpack a public data set; an interrupted download goes on where it stopped."""
    from ..pipeline.fetch import fetch
    from .board import counting

    with counting(f"fetching {name}", in_bytes=True) as progress:
        fetched = fetch(name, to, sha256, progress)
    typer.echo(str(fetched))


def _find_run(name: str) -> Path:
    from ..transforms.errors import InputError

    for path in (Path(name), RUNS / name):
        if path.is_dir():
            return path
    there = sorted(path.parent.name for path in RUNS.glob("*/study.yaml"))
    hint = f"in {RUNS}/ there are {', '.join(there)}" if there else "`smoothmorph run STUDY` makes one"
    raise InputError(f"there is no run {name!r}, neither as a folder nor under {RUNS}/; {hint}.")
