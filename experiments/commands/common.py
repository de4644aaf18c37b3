"""What the commands share: how a mistake is told, and how a run is named."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

RUNS = Path("runs")
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run, or its name under runs/.")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Set a key in every trial, e.g. training.epochs=3.")
]


def guarded(command: Callable[..., None], goes_on: bool = False) -> Callable[..., None]:
    """A user's mistake, or a file that cannot be used, is one line and exit code 2; Ctrl-C is exit code 130.

    Anything else is a fault of ours. ``goes_on``: called again, the command goes on where it was stopped.
    """

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            kept = "what is complete is kept: give the same command again to go on"
            lost = "only files that it wrote already are kept: the same command starts anew"
            typer.echo(f"interrupted; {kept if goes_on else lost}.", err=True)
            raise typer.Exit(130) from None
        except ValueError as error:
            from ...transforms.errors import InputError

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


def moved(name: str, now: str) -> Callable[..., None]:
    """A command of an earlier version, which says what it is called now."""

    def command(words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
        from ...transforms.errors import InputError

        raise InputError(f"`smoothmorph {name}` is now {now}.")

    return command


def find_run(name: str) -> Path:
    from ...transforms.errors import InputError

    for path in (Path(name), RUNS / name):
        if path.is_dir():
            return path
    there = sorted(path.parent.name for path in RUNS.glob("*/study.yaml"))
    hint = f"in {RUNS}/ there are {', '.join(there)}" if there else "`smoothmorph run STUDY` makes one"
    raise InputError(f"there is no run {name!r}, neither as a folder nor under {RUNS}/; {hint}.")
