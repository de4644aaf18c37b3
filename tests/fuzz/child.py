"""Reads hostile inputs one after the other in limited child processes and reports the outcome of each.

This process imports everything once and reads the valid inputs. Its forked children share all that, so a crash costs
only milliseconds.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from fuzz.judge import SECRET, Fault, Reader, judged, perturbed
from fuzz.mutate import OUTSIDE, Files, mutated

MEMORY, LONGEST_FILE, PER_CHILD = 3 << 29, 1 << 26, 300
"""Additional memory in bytes; size of a written file in bytes; number of inputs per child."""
NO_MORE, AGAIN = 0, 3
"""Exit code of a child that ends by itself."""
INPUT = "sandbox/1/2/3/4/5/6"
"""The working directory of a reader, deep enough that ``..`` stays in the sandbox."""


@dataclass(frozen=True)
class Bench:
    """The data of all children: readers, inputs to be changed, and CPU seconds per input."""

    readers: Mapping[str, Reader]
    valid: Mapping[str, list[Files]]
    seconds: int


def main() -> None:
    """Entry point: a module of READERS, seconds, a folder and sockets. On each socket, one child at a time answers."""
    folder, channels = Path(sys.argv[3]), [int(number) for number in sys.argv[4:]]
    readers: dict[str, Reader] = importlib.import_module(sys.argv[1]).READERS
    with contextlib.redirect_stdout(io.StringIO()):
        bench = Bench(readers, {name: reader.seeds() for name, reader in readers.items()}, int(sys.argv[2]))
        _make(folder / "first")
        for name in readers if sys.argv[1] == "fuzz.readers" else ():  # make libraries load now what they load lazily
            for files in bench.valid[name]:
                _fill(folder / "first", files)
                _with_folder(folder / "first", readers[name].read)
        for name, reader in readers.items():
            bench.valid[name].extend(reader.hostile())
    gc.freeze()
    supervisors = [os.fork() or _supervise(folder / f"child-{number}", number, bench) for number in channels]
    for number in channels:
        os.close(number)
    for pid in supervisors:
        os.waitpid(pid, 0)


def _supervise(folder: Path, channel: int, bench: Bench) -> int:
    """Fork children for the channel one after the other; a crash is reported in place of the answer."""
    with socket.socket(fileno=channel) as parent:
        while True:
            pid = os.fork()
            if pid == 0:
                os._exit(_serve(folder, parent, bench))
            _, status = os.waitpid(pid, 0)
            if os.WIFSIGNALED(status):
                name = signal.Signals(os.WTERMSIG(status)).name
                hung = name in ("SIGXCPU", "SIGALRM")
                _answer(parent, f"hang: more than {bench.seconds} s" if hung else f"crash: {name}")
            elif os.WEXITSTATUS(status) == NO_MORE:
                os._exit(0)
            elif os.WEXITSTATUS(status) != AGAIN:
                _answer(parent, f"crash: the process ended with {os.WEXITSTATUS(status)}")


def _answer(parent: socket.socket, fault: str = "", kind: str = "fault", **more: Any) -> None:
    parent.sendall((json.dumps({"kind": kind, "told": fault, **more}) + "\n").encode())


def _serve(folder: Path, parent: socket.socket, bench: Bench) -> int:
    """Read inputs on request: ``{"reader": name, "seed": s, "index": i}``, or with a ``folder`` of files."""
    screen = _confine(folder)
    for _ in range(PER_CHILD):
        line = parent.recv(1 << 16)
        if not line:
            return NO_MORE
        task = json.loads(line)
        reader = bench.readers[task["reader"]]
        if "folder" in task:
            files = load(Path(task["folder"]))
        else:
            rng = Random(f"{task['seed']} {task['reader']} {task['index']}")
            files = mutated(bench.valid[task["reader"]], rng, reader.changed)
        shutil.rmtree(folder / "input", ignore_errors=True)
        save(folder / "input", files)
        screen.seek(0)
        screen.truncate()
        kind, told = _judge(folder, reader, files, screen, bench.seconds)
        _answer(parent, told, kind)
        if kind == "fault":
            return AGAIN
    return AGAIN


def save(folder: Path, files: Files) -> None:
    """Write the files of an input with numbers as names, and a list of the real names, which may be invalid."""
    folder.mkdir(parents=True)
    (folder / "names.json").write_text(json.dumps(list(files)))
    for number, content in enumerate(files.values()):
        (folder / str(number)).write_bytes(content)


def load(folder: Path) -> Files:
    names = json.loads((folder / "names.json").read_text())
    return {name: (folder / str(number)).read_bytes() for number, name in enumerate(names)}


def _confine(folder: Path) -> Any:
    """Set limits and redirect the output to a file, which is returned."""
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
    screen = open(folder / "screen", "w+b", buffering=0)  # noqa: SIM115 (for as long as the process lives)
    for descriptor in (1, 2):
        os.dup2(screen.fileno(), descriptor)
    return screen


def _make(folder: Path) -> None:
    """Make a sandbox: an input folder six levels deep, so that ``..`` stays inside, a home folder and another file."""
    shutil.rmtree(folder / "sandbox", ignore_errors=True)
    for part in ("home", "outside", INPUT.removeprefix("sandbox/")):
        (folder / "sandbox" / part).mkdir(parents=True)
    (folder / "sandbox" / "outside" / "secret.raw").write_bytes(SECRET * 300)
    for part in (
        "1/2/3/4",
        "1/2/3/4/5",
    ):  # where ../../outside leads
        (folder / "sandbox" / part / "outside").symlink_to(folder / "sandbox" / "outside")


def _fill(folder: Path, files: Files) -> None:
    """Put an input into a clean sandbox."""
    _make(folder)
    here = folder / INPUT
    (here / "out").mkdir()
    outside = str(folder / "sandbox" / "outside").encode()
    for name, content in {**files, "": None}.items():
        path = here / "in" / name
        (path.parent if content is not None else path).mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content.replace(OUTSIDE.encode(), outside))


def _with_folder(folder: Path, read: Any) -> Any:
    os.chdir(folder / INPUT)
    try:
        return read()
    finally:
        os.chdir(folder)


def _judge(folder: Path, reader: Reader, files: Files, screen: Any, seconds: int) -> tuple[str, str]:
    """Read an input twice and return ("accepted", ""), ("refused", message) or ("fault", description)."""
    found: list[tuple[str, str]] = []
    used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    resource.setrlimit(resource.RLIMIT_CPU, (used + 1 + seconds, resource.RLIM_INFINITY))
    signal.alarm(10 * seconds)  # for readers that wait
    try:
        for byte in (0x55, 0x2A)[: 1 if reader.family == "runs" else 2]:  # runs read their tables repeatedly
            _fill(folder, files)
            before = _snapshot(folder / "sandbox")
            with perturbed(byte):
                found.append(judged(lambda: _with_folder(folder, reader.read), reader.names))
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
    if found[0] != found[-1]:
        return "fault", f"differs: two readings, {found[0][0]} and {found[-1][0]}"
    return found[0][0], found[0][1] if found[0][0] == "refused" else ""


def _snapshot(sandbox: Path) -> set[tuple[str, tuple[int, int, int]]]:
    """Every file and folder in a folder, with kind, size and modification time."""
    here, seen = sandbox.parent / INPUT, set()
    for folder, folders, files in os.walk(sandbox):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            about = os.lstat(path)
            size = (about.st_size, about.st_mtime_ns) if name in files else (0, 0)
            seen.add((os.path.relpath(path, here), (about.st_mode, *size)))
    return seen


if __name__ == "__main__":
    main()
