"""Progress of a running study: bars in a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich import progress as bars
from rich.console import Console
from rich.table import Column

from ...transforms.basics.errors import printable
from ..study.screen import say
from .jobs import Event

SECONDS_BETWEEN_LINES = 30.0


class Board:
    """A context manager that shows events, with bars if the console is a terminal."""

    def __init__(self, console: Console, names: dict[str, str], total: int, done: int) -> None:
        self._console, self._names, self._total, self._done = console, names, total, done
        self._live = console.is_terminal
        self._bars: dict[str, bars.TaskID] = {}
        self._stages: dict[str, tuple[str, float]] = {}
        self._progress = bars.Progress(
            bars.TextColumn("{task.description}", markup=False),
            bars.BarColumn(bar_width=None, table_column=Column(ratio=1)),
            bars.MofNCompleteColumn(),
            bars.TimeRemainingColumn(),
            bars.TextColumn(
                "{task.fields[note]}", markup=False, table_column=Column(ratio=2, no_wrap=True, overflow="ellipsis")
            ),
            console=console,
            disable=not self._live,
            expand=True,
        )
        self._overall = self._progress.add_task("trials", total=total, completed=done, note="")

    def __enter__(self) -> "Board":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "progress":
            self._step(event.trial, event.progress)
        elif event.kind != "started":
            self._end(event)
        elif self._live:
            self._bars[event.trial] = self._progress.add_task(self._names[event.trial], total=None, note="starting")
        else:
            self._say(event.trial, "started")

    def _step(self, trial: str, progress: Any) -> None:
        (stage, last), now = self._stages.get(trial, ("", 0.0)), time.monotonic()
        if self._live:
            bar = self._bars[trial]
            if stage != progress.stage:  # a new stage counts something else, so the remaining time starts again
                self._progress.reset(bar, total=progress.total, completed=0)
                self._stages[trial] = (progress.stage, now)
            self._progress.update(bar, total=progress.total, completed=progress.done, note=_words(progress))
        elif progress.stage != "done" and (stage != progress.stage or now - last > SECONDS_BETWEEN_LINES):
            self._stages[trial] = (progress.stage, now)
            self._say(trial, f"{_words(progress)} ({progress.done} of {progress.total})")

    def _end(self, event: Event) -> None:
        if event.trial in self._bars:
            self._progress.remove_task(self._bars.pop(event.trial))
        self._stages.pop(event.trial, None)
        self._done += event.kind != "interrupted"
        self._progress.update(self._overall, completed=self._done)
        count = f"[{self._done}/{self._total}] " if event.kind == "finished" else ""
        self._say(event.trial, f"{count}{event.kind}" + (f": {event.reason}" if event.reason else ""))

    def _say(self, trial: str, text: str) -> None:
        say(self._console, f"{self._names[trial]}  {text}")


def _words(progress: Any) -> str:
    told = progress.stage if progress.message in ("", progress.stage) else f"{progress.stage}: {progress.message}"
    return printable(told)


@contextlib.contextmanager
def counting(label: str, in_bytes: bool = False) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on the standard error for work that reports (done, total); no output if that is not a terminal."""
    console = Console(stderr=True)
    count: bars.ProgressColumn = bars.DownloadColumn() if in_bytes else bars.MofNCompleteColumn()
    columns = (bars.TextColumn("{task.description}", markup=False), bars.BarColumn(), count, bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(printable(label), total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


@contextlib.contextmanager
def following(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for work that reports (description, done, total); if the console is no terminal, a line every 30 s."""
    columns = (bars.TextColumn("{task.description}", markup=False), bars.BarColumn(), bars.TimeElapsedColumn())
    with bars.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar, last = progress.add_task("loading", total=None), time.monotonic()

        def tell(doing: str, done: int, total: int) -> None:
            nonlocal last
            progress.update(bar, description=printable(doing), completed=done, total=total)
            if not console.is_terminal and time.monotonic() - last > SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                say(console, f"{doing} ({done} of {total})")

        yield tell
