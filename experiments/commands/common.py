"""What the commands share: how a mistake is told, and how a run is named."""

import contextlib
import functools
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ...transforms.basics.errors import InputError, printable, quoted
from ..run.signals import stoppable

RUNS = Path("runs")


def runs_there(incomplete: str) -> list[str]:
    """What a shell completes: the runs under runs/, by name."""
    names = sorted(path.parent.name for path in RUNS.glob("*/study.yaml"))
    return [name for name in names if name.startswith(incomplete)]


RunName = Annotated[
    str,
    typer.Argument(metavar="RUN", help="The folder of a run, or its name under runs/.", autocompletion=runs_there),
]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Set a key in every trial, e.g. training.epochs=3.")
]


LONGEST_LINE = 4000
"""Characters of a sentence on the screen, whatever it quotes."""


def echo(text: object, err: bool = False) -> None:
    """Print one line; a longer text loses its middle."""
    line = printable(text)
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
    typer.echo(line, err=err)


def guarded(command: Callable[..., None], goes_on: bool = False) -> Callable[..., None]:
    """A user's mistake, or a file that cannot be used, is one line and exit code 2.

    Ctrl-C is exit code 130, SIGTERM 143 and SIGHUP 129. Anything else is a fault of ours. ``goes_on``: called again,
    the command goes on where it was stopped.
    """

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            with stoppable(), warnings_at_the_end():
                command(*args, **kwargs)
        except KeyboardInterrupt as stop:
            kept = "what is complete is kept: give the same command again to go on"
            lost = "only files that it wrote already are kept: the same command starts anew"
            with contextlib.suppress(OSError):  # the terminal was closed
                echo(f"{str(stop) or 'interrupted'}; {kept if goes_on else lost}.", err=True)
            raise typer.Exit(getattr(stop, "exit_code", 130)) from None
        except ValueError as error:
            if not isinstance(error, InputError):
                raise
            echo(f"error: {error}", err=True)
            raise typer.Exit(2) from None
        except BrokenPipeError:  # `smoothmorph show ... | head`: typer ends quietly
            raise
        except OSError as error:
            file = f"{error.filename}: " if error.filename is not None else ""
            advice = "see to its permissions and the free space, then run again"
            echo(f"error: {file}{error.strerror or error}; {advice}.", err=True)
            raise typer.Exit(2) from None

    return guarded


def moved(name: str, now: str) -> Callable[..., None]:
    """A command of an earlier version, which says what it is called now."""

    def command(words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
        raise InputError(f"`smoothmorph {name}` is now {now}.")

    return command


@contextlib.contextmanager
def warnings_at_the_end() -> Iterator[None]:
    """Hold back what libraries warn of until the work is done: nothing comes before the sentence of an error."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # nibabel's levels go up to it; what is an error is raised, too
    try:
        with warnings.catch_warnings(record=True) as held:
            yield
    finally:
        logging.disable(before)
    for warning in held:
        warnings.showwarning(printable(warning.message), warning.category, warning.filename, warning.lineno)


def find_run(name: str) -> Path:
    """The folder of a run. InputError, before anything heavy is loaded, where there is none."""
    from ..store.run_folder import check_run

    for path in (Path(name), RUNS / name):
        if path.is_dir():
            return check_run(path).parent
    there = runs_there("")
    hint = f"in {RUNS}/ there are {', '.join(there)}" if there else "`smoothmorph run STUDY` makes one"
    raise InputError(f"there is no run {quoted(name)}, neither as a folder nor under {RUNS}/; {hint}.")
