"""Readers with one fault each, which show that the fuzzing finds this fault."""

import ctypes
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fuzz.judge import Reader
from smoothmorph.transforms.basics.errors import InputError


def raises(error: BaseException) -> Callable[[], Any]:
    def read() -> None:
        raise error

    return read


def secret() -> np.ndarray:
    """Read another file, like a header that names another file for its voxels."""
    return np.frombuffer(Path("../../outside/secret.raw").read_bytes()[:64], np.uint8).astype(np.float64)


def wait() -> None:
    while True:
        pass


FAULTS: dict[str, tuple[str, Callable[[], Any]]] = {
    "a traceback": ("traceback: KeyError", raises(KeyError("x"))),
    "a deep recursion": ("traceback: RecursionError", raises(RecursionError())),
    "a crash": ("crash: SIGSEGV", lambda: ctypes.string_at(0)),
    "an abort": ("crash: SIGABRT", os.abort),
    "an exit": ("crash: the process ended", lambda: os._exit(1)),
    "a hang": ("hang", wait),
    "much memory": ("memory", lambda: bytearray(4 << 30)),
    "much memory, hidden": ("memory", raises(InputError("in/x: std::bad_alloc."))),
    "a file above": ("wrote: ../evil", lambda: Path("../evil").write_text("x")),
    "a file at home": ("wrote: ../../../../../../home/evil", lambda: (Path.home() / "evil").write_text("x")),
    "a file beside": ("wrote: in/evil", lambda: Path("in/evil").write_text("x")),
    "a changed file": ("wrote: in/x", lambda: Path("in/x").write_text("other")),
    "words of C's": ("printed", lambda: os.write(2, b"MetaImage: cannot")),
    "a warning": ("printed: UserWarning", lambda: warnings.warn("careful", stacklevel=1)),
    "a long message": ("message: 2", raises(InputError(f"in/x: {'x' * 2000}"))),
    "no name": ("message: names neither", raises(InputError("bad"))),
    "NaN": ("accepted: NaN", lambda: {"field": torch.tensor([1.0, torch.nan])}),
    "complex numbers": ("accepted: complex", lambda: np.zeros(3, complex)),
    "memory of before": ("differs", lambda: torch.empty(1000, dtype=torch.int64)),
    "another file": ("accepted: the content of another file", secret),
}
"""By name: the beginning of the fault's description, and the reader."""
GOOD: dict[str, tuple[str, Callable[[], Any]]] = {
    "accepts": ("", lambda: [torch.ones(3), {"x": Path("in")}]),
    "refuses": ("error: in/x is empty.", raises(InputError("in/x is empty."))),
    "refuses in two lines": ("error: in/x: one\\ntwo", raises(InputError("in/x: one\ntwo"))),
    "refuses with an escape": ("error: in/x: \\x1b[2J", raises(InputError("in/x: \x1b[2J"))),
    "may not read": ("error: in/x: Permission denied", raises(PermissionError(13, "Permission denied", "in/x"))),
}
READERS = {
    name: Reader("faulty", lambda: [{"x": b"content"}], read, "nothing")
    for name, (_, read) in {**FAULTS, **GOOD}.items()
}
