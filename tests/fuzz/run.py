"""``python -m fuzz.run``: reads hostile inputs with every reader and reports the outcomes."""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
KEPT = 3
"""Maximum number of inputs kept per fault."""


@dataclass(frozen=True)
class Ended:
    """The outcome of an input: ``accepted``, ``refused`` or ``fault``, and the message."""

    reader: str
    seed: int
    index: int
    kind: str
    told: str
    size: int = 0
    folder: Path | None = None
    """The folder in which the input of a fault is kept."""

    @property
    def fault(self) -> str:
        """The key that all inputs with the same fault share."""
        kind, _, more = re.sub(r"(in|out)/[^\s,:;]+|-?\d[\d.e+]*|b'\w+", "*", self.told).partition(": ")
        return f"{kind}: {more.partition(': ')[0]}" if kind == "message" else f"{kind}: {more[:40]}"


class Pool:
    """A pool of ``workers`` children that read inputs for up to ``seconds`` each; ``kept`` gets the inputs of faults.

    ``readers`` is the module that has them.
    """

    def __init__(self, kept: Path, workers: int = 2, readers: str = "fuzz.readers", seconds: int = 10) -> None:
        self.kept, self.workers = kept, workers
        self.arguments = [readers, str(seconds)]
        self.seen: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> "Pool":
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        pairs = [socket.socketpair() for _ in range(self.workers)]
        theirs = [child.fileno() for _, child in pairs]
        command = [sys.executable, "-m", "fuzz.child", *self.arguments, str(self.folder), *map(str, theirs)]
        one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1")
        self.process = subprocess.Popen(command, cwd=TESTS, pass_fds=theirs, env={**os.environ, **one})
        self.free: SimpleQueue[tuple[int, socket.socket]] = SimpleQueue()
        for number, (own, child) in zip(theirs, pairs, strict=True):
            child.close()
            self.free.put((number, own))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while not self.free.empty():
            self.free.get()[1].close()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def read(self, tasks: Iterable[dict[str, Any]]) -> Iterator[Ended]:
        """The outcomes of the tasks, in order."""
        with ThreadPoolExecutor(self.workers) as threads:
            yield from threads.map(self._read, tasks)

    def _read(self, task: dict[str, Any]) -> Ended:
        number, channel = self.free.get()
        try:
            channel.sendall((json.dumps(task) + "\n").encode())
            answer = b""
            while not answer.endswith(b"\n"):
                if not (part := channel.recv(1 << 16)):
                    raise ConnectionResetError
                answer += part
            told = json.loads(answer)
            ended = Ended(task["reader"], task.get("seed", 0), task.get("index", 0), told["kind"], told["told"])
            return self._keep(ended, self.folder / f"child-{number}" / "input") if ended.kind == "fault" else ended
        except ConnectionError:
            raise RuntimeError("the process that reads the inputs has ended; its words are above") from None
        finally:
            self.free.put((number, channel))

    def _keep(self, ended: Ended, source: Path) -> Ended:
        size = sum(path.stat().st_size for path in source.iterdir())
        self.seen[ended.reader, ended.fault] += 1
        folder = self.kept / f"{ended.reader}-{ended.seed}-{ended.index}"
        if self.seen[ended.reader, ended.fault] > KEPT:
            return Ended(**{**vars(ended), "size": size})
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        (folder / "fault.json").write_text(json.dumps({"reader": ended.reader, "told": ended.told}, indent=1))
        return Ended(**{**vars(ended), "size": size, "folder": folder})


def tasks(inputs: int, seed: int, readers: Iterable[str]) -> list[dict[str, Any]]:
    """A given number of inputs, distributed evenly over the readers."""
    readers = list(readers)
    counts = [inputs // len(readers) + (place < inputs % len(readers)) for place in range(len(readers))]
    return [
        {"reader": reader, "seed": seed, "index": index}
        for reader, count in zip(readers, counts, strict=True)
        for index in range(count)
    ]


def summary(found: Iterable[Ended]) -> str:
    """A line for each reader, and one for each fault with its smallest input."""
    counts: dict[str, Counter[str]] = {}
    faults: dict[tuple[str, str], list[Ended]] = {}
    for ended in found:
        counts.setdefault(ended.reader, Counter())[ended.kind] += 1
        if ended.kind == "fault":
            faults.setdefault((ended.reader, ended.fault), []).append(ended)
    kinds = ("accepted", "refused", "fault")
    lines = [f"{'reader':<16}{'inputs':>8}{'accepted':>10}{'refused':>9}{'anything else':>15}"]
    counts["all"] = sum(counts.values(), Counter())
    for reader, own in counts.items():
        accepted, refused, fault = (own[kind] for kind in kinds)
        lines.append(f"{reader:<16}{own.total():>8}{accepted:>10}{refused:>9}{fault:>15}")
    for (reader, _), same in sorted(faults.items()):
        least = min((ended for ended in same if ended.folder), key=lambda ended: ended.size)
        lines.append(f"{reader}, {len(same)} times: {least.told}\n  make fuzz REPLAY={least.folder}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="in all, spread over the readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", action="append", help="only this one; may be repeated")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--kept", type=Path, default=Path("build/fuzz"), help="folder of the inputs of faults")
    parser.add_argument("--replay", type=Path, help="a folder in there, to be read again")
    chosen = parser.parse_args()
    from fuzz.readers import READERS

    begin = time.monotonic()
    if chosen.replay:
        reader = json.loads((chosen.replay / "fault.json").read_text())["reader"]
        asked = [{"reader": reader, "folder": str(chosen.replay.resolve())}]
    else:
        asked = tasks(chosen.inputs, chosen.seed, chosen.reader or READERS)
    with Pool(chosen.kept.resolve(), chosen.workers) as pool:
        found = []
        for ended in pool.read(asked):
            if not found or ended.reader != found[-1].reader:
                print(f"{ended.reader} ...", file=sys.stderr, flush=True)
            found.append(ended)
    print(summary(found) if not chosen.replay else f"{found[0].kind}: {found[0].told}")
    print(f"seed {chosen.seed}, {time.monotonic() - begin:.0f} s")
    sys.exit(any(ended.kind == "fault" for ended in found))


if __name__ == "__main__":
    main()
