"""Reads hostile inputs one after the other in children with limits, and says how each ended.

An input is accepted, or refused by one line. Anything else is a fault: a traceback, a crash, more than ``SECONDS`` of a
core, more memory than ``MEMORY``, a file written elsewhere than allowed, words on the screen, a message that a user
cannot use, numbers that are not finite, the content of another file, and two readings that differ.

This process imports everything once and reads the valid inputs. The children that it forks have all of that, so that
one that crashes costs milliseconds.
"""

import contextlib
import ctypes
import dataclasses
import hashlib
import io
import json
import os
import re
import resource
import shutil
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import torch
import typer

from fuzz.mutate import OUTSIDE, Files, mutated
from fuzz.readers import READERS, Reader, WrongResult
from smoothmorph.experiments.commands.common import guarded

SECONDS, MEMORY, LONGEST_FILE = 10, 3 << 29, 1 << 26
"""Of a core; bytes beside those at the start; bytes of a file that is written."""
LONGEST_MESSAGE, MOST_NUMBERS, PER_CHILD = 1200, 1 << 24, 300
EXHAUSTED = re.compile(r"(?i)bad.?alloc|(cannot|unable to|failed to|can't) allocate|not enough memory|file too large")
SECRET = b"the content of another file; "
M_PERTURB = -6
"""Of glibc's ``mallopt``: fresh memory is filled with a byte, another one for each of two readings."""
NO_MORE, AGAIN = 0, 3
"""How a child ends by itself."""


class Fault(Exception):  # noqa: N818 (it is found, not made)
    """What must not happen did."""


def main() -> None:
    """Called with a folder to work in and the descriptors of sockets; on each, one child at a time answers."""
    folder, channels = Path(sys.argv[1]).resolve(), [int(number) for number in sys.argv[2:]]
    for name in ("HOME", "XDG_CACHE_HOME", "SMOOTHMORPH_CACHE", "TMPDIR"):
        os.environ[name] = str(folder / "unused")
    with contextlib.redirect_stdout(io.StringIO()):
        valid = {name: reader.seeds() for name, reader in READERS.items()}
        _make(folder / "first")
        for name, reader in READERS.items():  # what libraries load late, they load now
            for files in valid[name]:
                _fill(folder / "first", files)
                _with_folder(folder / "first", reader.read)
    supervisors = [os.fork() or _supervise(folder / f"child-{number}", number, valid) for number in channels]
    for number in channels:
        os.close(number)
    for pid in supervisors:
        os.waitpid(pid, 0)


def _supervise(folder: Path, channel: int, valid: Mapping[str, list[Files]]) -> int:
    """Fork a child for the channel, and the next one when it has ended; a death is told in its place."""
    with socket.socket(fileno=channel) as parent:
        while True:
            pid = os.fork()
            if pid == 0:
                os._exit(_serve(folder, parent, valid))
            _, status = os.waitpid(pid, 0)
            if os.WIFSIGNALED(status):
                number = os.WTERMSIG(status)
                hung = number in (signal.SIGXCPU, signal.SIGALRM)
                _answer(parent, f"hang: more than {SECONDS} s" if hung else f"crash: {signal.Signals(number).name}")
            elif os.WEXITSTATUS(status) == NO_MORE:
                os._exit(0)
            elif os.WEXITSTATUS(status) != AGAIN:
                _answer(parent, f"crash: the process ended with {os.WEXITSTATUS(status)}")


def _answer(parent: socket.socket, fault: str = "", kind: str = "fault", **more: Any) -> None:
    parent.sendall((json.dumps({"kind": kind, "told": fault, **more}) + "\n").encode())


def _serve(folder: Path, parent: socket.socket, valid: Mapping[str, list[Files]]) -> int:
    """Read inputs as they are asked for: ``{"reader": name, "seed": s, "index": i}``, or with a ``folder`` of files."""
    screen = _confine(folder)
    for _ in range(PER_CHILD):
        line = parent.recv(1 << 16)
        if not line:
            return NO_MORE
        task = json.loads(line)
        reader = READERS[task["reader"]]
        if "folder" in task:
            files = load(Path(task["folder"]))
        else:
            rng = Random(f"{task['seed']} {task['reader']} {task['index']}")
            files = mutated(valid[task["reader"]], rng, reader.changed)
        shutil.rmtree(folder / "input", ignore_errors=True)
        save(folder / "input", files)
        screen.seek(0)
        screen.truncate()
        kind, told = _judge(folder, reader, files, screen)
        _answer(parent, told, kind)
        if kind == "fault":
            return AGAIN
    return AGAIN


def save(folder: Path, files: Files) -> None:
    """The files of an input, numbered, and their names apart: a file system cannot hold every name."""
    folder.mkdir(parents=True)
    (folder / "names.json").write_text(json.dumps(list(files)))
    for number, content in enumerate(files.values()):
        (folder / str(number)).write_bytes(content)


def load(folder: Path) -> Files:
    names = json.loads((folder / "names.json").read_text())
    return {name: (folder / str(number)).read_bytes() for number, name in enumerate(names)}


def _confine(folder: Path) -> Any:
    """Set limits, and turn the screen into a file, which is returned."""
    _make(folder)
    for name in ("HOME", "XDG_CACHE_HOME", "SMOOTHMORPH_CACHE", "TMPDIR"):
        os.environ[name] = str(folder / "sandbox" / "home")
    with open("/proc/self/statm") as file:
        there = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (there + MEMORY, there + MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LONGEST_FILE, LONGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGALRM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    screen = open(folder / "screen", "w+b", buffering=0)
    for descriptor in (1, 2):
        os.dup2(screen.fileno(), descriptor)
    return screen


def _make(folder: Path) -> None:
    """A sandbox: the folder of the input six levels deep, so that ``..`` stays inside; a home; another file."""
    shutil.rmtree(folder / "sandbox", ignore_errors=True)
    for part in ("home", "outside", "1/2/3/4/5/6"):
        (folder / "sandbox" / part).mkdir(parents=True)
    (folder / "sandbox" / "outside" / "secret.raw").write_bytes(SECRET * 300)
    (folder / "sandbox" / "1/2/3/4" / "outside").symlink_to(folder / "sandbox" / "outside")


def _fill(folder: Path, files: Files) -> None:
    """Put an input into the sandbox, afresh."""
    here = folder / "sandbox/1/2/3/4/5/6"
    shutil.rmtree(here)
    (here / "out").mkdir(parents=True)
    outside = str(folder / "sandbox" / "outside").encode()
    for name, content in {**files, "": None}.items():
        path = here / "in" / name
        (path.parent if content is not None else path).mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content.replace(OUTSIDE.encode(), outside))


def _with_folder(folder: Path, read: Any) -> Any:
    os.chdir(folder / "sandbox/1/2/3/4/5/6")
    try:
        return read()
    finally:
        os.chdir(folder)


def _judge(folder: Path, reader: Reader, files: Files, screen: Any) -> tuple[str, str]:
    """Read an input twice; ("accepted", ""), ("refused", the message) or ("fault", which)."""
    found: list[tuple[str, str]] = []
    used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    resource.setrlimit(resource.RLIMIT_CPU, (used + 1 + SECONDS, resource.RLIM_INFINITY))
    signal.alarm(10 * SECONDS)  # of one that waits
    try:
        for byte in (0x55, 0x2A):
            _fill(folder, files)
            before = _snapshot(folder / "sandbox")
            with _perturbed(byte):
                found.append(_read(folder, reader))
            changed = {path for path, _ in before ^ _snapshot(folder / "sandbox")}
            strange = sorted(path for path in changed if not path.startswith(reader.writes))
            if strange:
                raise Fault(f"wrote: {strange[0]}")
            if os.fstat(screen.fileno()).st_size:
                screen.seek(0)
                raise Fault(f"printed: {screen.read(200)!r}")
    except Fault as fault:
        return "fault", str(fault)
    finally:
        signal.alarm(0)
    if found[0] != found[1]:
        return "fault", f"differs: two readings, {found[0][0]} and {found[1][0]}"
    return found[0][0], found[0][1] if found[0][0] == "refused" else ""


def _snapshot(sandbox: Path) -> set[tuple[str, tuple[int, int, int]]]:
    """Every file and folder, from the folder of the input on, with its kind, size and time."""
    here, seen = sandbox / "1/2/3/4/5/6", set()
    for folder, folders, files in os.walk(sandbox):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            about = os.lstat(path)
            size = (about.st_size, about.st_mtime_ns) if name in files else (0, 0)
            seen.add((os.path.relpath(path, here), (about.st_mode, *size)))
    return seen


@contextlib.contextmanager
def _perturbed(byte: int) -> Iterator[None]:
    library = ctypes.CDLL(None)
    mallopt = getattr(library, "mallopt", lambda *_: None)
    mallopt(M_PERTURB, byte)
    try:
        yield
    finally:
        mallopt(M_PERTURB, 0)


def _read(folder: Path, reader: Reader) -> tuple[str, str]:
    """As a command reads: ("accepted", a hash of the result) or ("refused", the message). Raises Fault."""
    told = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    shown = io.StringIO()
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stderr(told):
        warnings.simplefilter("default")
        for silent in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", silent)
        try:
            with contextlib.redirect_stdout(shown):
                guarded(lambda: shown.write(_digest(_with_folder(folder, reader.read))))()
            found = "accepted", shown.getvalue()
        except typer.Exit:
            told.flush()
            found = "refused", told.buffer.getvalue().decode()  # pyright: ignore[reportAttributeAccessIssue]
        except Fault:
            raise
        except WrongResult as wrong:
            raise Fault(f"accepted: {wrong}") from None
        except MemoryError:
            raise Fault("memory: MemoryError") from None
        except BaseException as error:
            raise Fault(f"traceback: {type(error).__name__} in {_place(error)}: {str(error)[:150]}") from None
    if warned:
        raise Fault(f"printed: {warned[0].category.__name__}: {str(warned[0].message)[:150]}")
    if found[0] == "refused":
        _check_message(found[1], reader)
    return found


def _place(error: BaseException) -> str:
    """The innermost function of the project's in a traceback."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.split(os.sep)[-2] not in ("fuzz",)]
    own = [f for f in frames if "site-packages" not in f.filename and "/lib/python" not in f.filename] or frames
    return f"{Path(own[-1].filename).stem}.{own[-1].name}" if own else "the test"


def _check_message(said: str, reader: Reader) -> None:
    if EXHAUSTED.search(said):
        raise Fault(f"memory: {said[:300]}")
    if not said.startswith("error: ") or said.count("\n") != 1:
        raise Fault(f"message: not one line: {said[:300]!r}")
    if len(said) > LONGEST_MESSAGE:
        raise Fault(f"message: {len(said)} characters: {said[:150]}")
    if not said.rstrip("\n").isprintable():
        raise Fault(f"message: control characters: {said[:300]!r}")
    if not re.search(reader.names, said):
        raise Fault(f"message: names neither file nor field: {said[:300]}")


def _digest(value: Any) -> str:
    """A hash of all that a reader returned. Raises Fault where its numbers cannot be right."""
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


if __name__ == "__main__":
    main()
