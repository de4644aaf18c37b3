"""The definition of a reader, and the requirements for its result.

A reader must accept an input or refuse it in one line. Anything else is a fault: a traceback, a crash, too much time
or memory, a file written in the wrong place, output on the screen, an unclear message, numbers that are not finite,
content of another file, or two readings that differ.
"""

import contextlib
import ctypes
import dataclasses
import hashlib
import io
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import typer

from fuzz.mutate import Files
from smoothmorph.experiments.commands.common import guarded

LONGEST_MESSAGE, MOST_NUMBERS = 1200, 1 << 24
EXHAUSTED = re.compile(r"(?i)bad.?alloc|(cannot|unable to|failed to|can't) allocate|not enough memory|file too large")
SECRET = b"the content of another file; "
M_PERTURB = -6
"""Option of glibc's ``mallopt``: new memory is filled with a byte, a different one in each of two readings."""
QUIET = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""Warnings that Python hides by default."""


class Fault(Exception):  # noqa: N818 (it is found, not made)
    """Something happened that must not happen."""


def must(holds: object, otherwise: str) -> None:
    """Raise Fault unless an accepted value is correct."""
    if not holds:
        raise Fault(f"accepted: {otherwise}")


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader. ``seeds`` makes valid inputs; ``read`` reads the input in the folder ``in`` of the current folder."""

    family: str
    seeds: Callable[[], list[Files]]
    read: Callable[[], Any]
    changed: str = ""
    """Regular expression for the names of files to change."""
    writes: tuple[str, ...] = ()
    """Where it may write: prefixes of paths relative to the working directory."""
    names: str = r"\bin\b"
    """Regular expression that a message must match to name the faulty file or field."""
    hostile: Callable[[], list[Files]] = list
    """Makes additional hostile seeds, which are read only within the limits of a child."""


class _Terminal(io.TextIOWrapper):
    """It receives escape sequences, which the command line does not write to files."""

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def perturbed(byte: int) -> Iterator[None]:
    library = ctypes.CDLL(None)
    mallopt = getattr(library, "mallopt", lambda *_: None)
    mallopt(M_PERTURB, byte)
    try:
        yield
    finally:
        mallopt(M_PERTURB, 0)


def judged(read: Callable[[], Any], names: str) -> tuple[str, str]:
    """Read like a command and return ("accepted", hash of the result) or ("refused", message). Raises Fault."""
    told = _Terminal(io.BytesIO(), "utf-8", "backslashreplace")
    shown = io.StringIO()
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stderr(told):
        warnings.simplefilter("default")
        for silent in QUIET:
            warnings.simplefilter("ignore", silent)
        try:
            with contextlib.redirect_stdout(shown):
                guarded(lambda: shown.write(_digest(read())))()
            found = "accepted", shown.getvalue()
        except typer.Exit:
            told.flush()
            found = "refused", told.buffer.getvalue().decode()  # pyright: ignore[reportAttributeAccessIssue]
        except Fault:
            raise
        except MemoryError:
            raise Fault("memory: MemoryError") from None
        except BaseException as error:
            raise Fault(f"traceback: {type(error).__name__} in {_place(error)}: {str(error)[:150]}") from None
    if warned:
        raise Fault(f"printed: {warned[0].category.__name__}: {str(warned[0].message)[:150]}")
    if found[0] == "refused":
        _check_message(found[1], names)
    return found


def _place(error: BaseException) -> str:
    """The innermost function of the project in a traceback."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent.name != "fuzz"]
    own = [f for f in frames if "site-packages" not in f.filename and "/lib/python" not in f.filename] or frames
    return f"{Path(own[-1].filename).stem}.{own[-1].name}" if own else "the test"


def _check_message(said: str, names: str) -> None:
    if EXHAUSTED.search(said):
        raise Fault(f"memory: {said[:300]}")
    if not said.startswith("error: ") or said.count("\n") != 1:
        raise Fault(f"message: not one line: {said[:300]!r}")
    if len(said) > LONGEST_MESSAGE:
        raise Fault(f"message: {len(said)} characters: {said[:150]}")
    if not said.rstrip("\n").isprintable():
        raise Fault(f"message: control characters: {said[:300]!r}")
    if not re.search(names, said):
        raise Fault(f"message: names neither file nor field: {said[:300]}")


def _digest(value: Any) -> str:
    """A hash of all values that a reader returned. Raises Fault if its numbers cannot be correct."""
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, torch.nn.Module):
        value = dict(value.state_dict())
    if isinstance(value, torch.Tensor):
        value = _checked(value.detach()).numpy()
    if isinstance(value, pd.DataFrame):
        yield value.to_csv(index=False).encode("utf-8", "surrogatepass")
    elif isinstance(value, np.ndarray):
        yield from _array(value)
    elif isinstance(value, Mapping):
        for key in value:
            yield from _parts(key)
            yield from _parts(value[key])
    elif isinstance(value, list | tuple | set | frozenset):
        yield b"("
        for item in value:
            yield from _parts(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, float) and not np.isfinite(value):
        raise Fault(f"accepted: {value}")
    else:
        yield repr(value).encode("utf-8", "surrogatepass")


def _checked(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise Fault(f"accepted: a tensor that is {tensor.layout}, on {tensor.device}")
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def _array(array: np.ndarray) -> Iterator[bytes]:
    if array.size > MOST_NUMBERS:
        raise Fault(f"accepted: {array.size} numbers")
    if array.dtype.kind not in "biufUS":
        raise Fault(f"accepted: {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Fault("accepted: NaN or infinite numbers")
    content = array.tobytes()
    small = array.dtype.kind in "iuf" and array.size and array.min() >= 0 and array.max() < 256
    for order in "CF" if small else ():
        if SECRET[:12] in array.astype(np.uint8).tobytes(order):
            raise Fault("accepted: the content of another file")
    yield f"{array.dtype} {array.shape}".encode() + content
