"""Shared by the commands: error messages, and finding a run by its name."""

import contextlib
import functools
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ...pipeline.evaluation import FOLDING, METRICS, SDLOGJ
from ...pipeline.evaluation.limit import Limit
from ...transforms.basics.errors import InputError, printable, quoted
from ..run.signals import stoppable

RUNS = Path("runs")


def runs_there(incomplete: str) -> list[str]:
    """Shell completion: the names of the runs under runs/."""
    names = sorted(path.parent.name for path in RUNS.glob("*/study.yaml"))
    return [name for name in names if name.startswith(incomplete)]


RunName = Annotated[
    str,
    typer.Argument(metavar="RUN", help="The folder of a run, or its name under runs/.", autocompletion=runs_there),
]
Overrides = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting in every trial, e.g. training.epochs=3."),
]
COMPARED = [*METRICS.of_role("accuracy"), *METRICS.of_role("similarity")]
"""The metrics that may be called the accuracy."""
MaxFolding = Annotated[
    str | None, typer.Option(metavar="PERCENT", help="Largest mean folding of the displacement, e.g. 0.1%.")
]
MaxSDlogJ = Annotated[float | None, typer.Option(help="Largest mean SDlogJ of the displacement, e.g. 0.25.")]
ONE_LIMIT = "give one limit: either --max-folding (such as 0.1%) or --max-sdlogj (such as 0.25)."
Accuracy = Annotated[str | None, typer.Option(help=f"{', '.join(COMPARED)}; default: the first measured one.")]


LONGEST_LINE = 4000
"""Largest number of characters of a message on the screen."""


def echo(text: object, err: bool = False) -> None:
    """Print one line; the middle of a very long line is cut out."""
    line = printable(text)
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
    typer.echo(line, err=err)


def guarded(command: Callable[..., None], goes_on: bool = False) -> Callable[..., None]:
    """Wrap a command: a mistake of the user, or an unusable file, gives one line and exit code 2.

    Exit codes: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP. Any other exception is a bug and keeps its traceback.
    ``goes_on``: the command continues its work if it is repeated.
    """

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            with stoppable(), warnings_at_the_end():
                command(*args, **kwargs)
        except KeyboardInterrupt as stop:
            kept = "finished work is kept; repeat the same command to continue"
            lost = "only files that were already written are kept; the same command starts from the beginning"
            with contextlib.suppress(OSError):  # the terminal was closed
                echo(f"{str(stop) or 'interrupted'}; {kept if goes_on else lost}.", err=True)
            raise typer.Exit(getattr(stop, "exit_code", 130)) from None
        except ValueError as error:
            if not isinstance(error, InputError):
                raise
            text = str(error)
            echo(f"error: {text}{'.' if text[-1:].isalnum() else ''}", err=True)
            raise typer.Exit(2) from None
        except BrokenPipeError:  # `smoothmorph show ... | head`: typer ends quietly
            raise
        except OSError as error:
            file = f"{error.filename}: " if error.filename is not None else ""
            advice = "check its permissions and the free space, then repeat the command"
            echo(f"error: {file}{error.strerror or error}; {advice}.", err=True)
            raise typer.Exit(2) from None

    return guarded


def moved(name: str, now: str) -> Callable[..., None]:
    """A command of an earlier version; its error says what replaces it."""

    def command(words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
        raise InputError(f"`smoothmorph {name}` was removed; use {now}.")

    return command


@contextlib.contextmanager
def warnings_at_the_end() -> Iterator[None]:
    """Delay warnings of libraries until the work is done, so that an error message comes first."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # nibabel logs up to this level; it raises its errors, too
    try:
        with warnings.catch_warnings(record=True) as held:
            yield
    finally:
        logging.disable(before)
    for warning in held:
        warnings.showwarning(printable(warning.message), warning.category, warning.filename, warning.lineno)


def find_run(name: str) -> Path:
    """The folder of a run; raises InputError if there is none, before anything heavy is loaded."""
    from ..store.run_folder import check_run

    for path in (Path(name), RUNS / name):
        if path.is_dir():
            return check_run(path).parent
    there = runs_there("")
    hint = f"the runs in {RUNS}/ are {', '.join(there)}" if there else "make one with `smoothmorph run STUDY`"
    raise InputError(f"there is no run {quoted(name)}, neither as a folder nor under {RUNS}/; {hint}.")


def read_limit(max_folding: str | None, max_sdlogj: float | None) -> Limit | None:
    """The limit that a person gave, as text in percent or as a number; None if none was given.

    Raises:
        InputError: both were given, or a value is bad.
    """
    if max_folding is not None and max_sdlogj is not None:
        raise InputError(ONE_LIMIT)
    if max_sdlogj is not None:
        return Limit(SDLOGJ, max_sdlogj)
    if max_folding is None:
        return None
    try:
        percent = float(max_folding.removesuffix("%"))
    except ValueError:
        raise InputError(f"--max-folding {quoted(max_folding)[1:-1]}: expected a percentage, such as 0.1%.") from None
    if percent > 100:
        raise InputError(f"--max-folding {max_folding}: expected a percentage of the voxels, at most 100%.")
    return Limit(FOLDING, percent)
