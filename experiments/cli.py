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
    str, typer.Argument(metavar="STUDY", help="A built-in study (demo, fast, published, regularizers) or a .yaml file.")
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
    executor: Annotated[str, typer.Option(help="local: processes of this machine; ray: a Ray cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="ray: HOST:PORT of the head, or auto; by default a cluster on this machine.")
    ] = None,
    cpus: Annotated[int | None, typer.Option("--cpus-per-trial", min=1, help="ray: by default 1.")] = None,
    gpus: Annotated[float | None, typer.Option("--gpus-per-trial", min=0, help="ray: e.g. 0.5; by default 0.")] = None,
) -> None:
    """Run a study: only the trials that are missing, then tables and figures."""
    from .runner import run_study
    from .study import load_study

    loaded = load_study(study, overrides)
    chosen = _executor(executor, address, cpus, gpus, workers)
    result = run_study(loaded, out or RUNS / loaded.name, data_root, workers, chosen)
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
def report(
    run: RunName,
    out: Annotated[Path | None, typer.Option(help="The HTML file; by default RUN/report.html.")] = None,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = False,
) -> None:
    """Write tables, figures and one self-contained HTML report of a run, from its rows."""
    from .report import write_report

    written = write_report(_find_run(run), out=out)
    typer.echo(written)
    if open_it:
        typer.launch(str(written))


@app.command()
@_guarded
def archive(
    run: RunName,
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to keep it; it is a run again.")],
    pairs: Annotated[
        int, typer.Option(min=0, help="Example pairs of each configuration to keep, for the figures.")
    ] = 1,
) -> None:
    """Keep a finished run without its models: rows, histories, tables and figures, small enough to be committed."""
    from .runner import archive as keep

    for path in keep(_find_run(run), out, pairs).figures:
        typer.echo(path)


@app.command()
@_guarded
def recommend(
    run: RunName,
    max_folding: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Most folding of the displacement, e.g. 0.1%.")
    ] = None,
    max_sdlogj: Annotated[float | None, typer.Option(help="Largest SDlogJ of the displacement, e.g. 0.25.")] = None,
    accuracy: Annotated[
        str | None, typer.Option(help="dice, tre, mse or ncc; by default the first that was measured.")
    ] = None,
) -> None:
    """Say which penalty, λ and model of a run to use where the deformation may only be so rough."""
    from rich.console import Console

    from .statistics import recommend as choose
    from .tables import collect
    from .views import recommendation_view

    limit = _limit(max_folding, max_sdlogj)
    Console().print(recommendation_view(choose(collect(_find_run(run)), limit, accuracy), limit), soft_wrap=False)


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


def _executor(name: str, address: str | None, cpus: int | None, gpus: float | None, workers: int | None) -> Any:
    """The executor of a run; None for the runner's own choice."""
    from ..transforms.errors import InputError

    if name not in ("local", "ray"):
        raise InputError(f"unknown executor {name!r}; expected local or ray.")
    if name == "local":
        options = {"--address": address, "--cpus-per-trial": cpus, "--gpus-per-trial": gpus}
        given = [option for option, value in options.items() if value is not None]
        if given:
            raise InputError(f"{given[0]} is for a Ray cluster; add --executor ray, or leave it out.")
        return None
    if workers is not None:
        raise InputError(
            "--workers is for processes of this machine; with --executor ray, --cpus-per-trial and --gpus-per-trial "
            "decide how many trials run at once."
        )
    from .distributed.executor import RayExecutor

    return RayExecutor(address, cpus or 1, gpus or 0.0)


def _limit(max_folding: str | None, max_sdlogj: float | None) -> Any:
    from ..transforms.errors import InputError
    from .statistics import Limit

    if (max_folding is None) == (max_sdlogj is None):
        raise InputError("give one limit, either --max-folding, such as 0.1%, or --max-sdlogj, such as 0.25.")
    if max_sdlogj is not None:
        return Limit("displacement_sdlogj", max_sdlogj)
    try:
        percent = float(str(max_folding).removesuffix("%"))
    except ValueError:
        raise InputError(f"--max-folding {max_folding}: expected a percentage, such as 0.1%.") from None
    return Limit("displacement_nonpositive_percent", percent)


def _find_run(name: str) -> Path:
    from ..transforms.errors import InputError

    for path in (Path(name), RUNS / name):
        if path.is_dir():
            return path
    there = sorted(path.parent.name for path in RUNS.glob("*/study.yaml"))
    hint = f"in {RUNS}/ there are {', '.join(there)}" if there else "`smoothmorph run STUDY` makes one"
    raise InputError(f"there is no run {name!r}, neither as a folder nor under {RUNS}/; {hint}.")
