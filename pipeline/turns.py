"""Work in turns: generators that pause at each ``yield``, so that several trials can advance in one process."""

from collections.abc import Generator
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")
Turns = Generator[None, None, Result]


def finish(turns: Turns[Result]) -> Result:
    """Take every turn of some work, and return its result."""
    while True:
        try:
            next(turns)
        except StopIteration as end:
            return end.value


def on_own_stream(turns: Turns[Result], device: torch.device) -> Turns[Result]:
    """The same work; on a GPU on a stream of its own, so that it computes beside what others have queued.

    What it leaves behind is complete when it ends.
    """
    if device.type != "cuda":
        return (yield from turns)
    stream: Any = torch.cuda.Stream(device)
    while True:
        with torch.cuda.stream(stream):  # not across a turn: the current stream belongs to the whole thread
            try:
                next(turns)
            except StopIteration as end:
                stream.synchronize()
                return end.value
        yield
