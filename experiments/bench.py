"""Speed and memory against official VoxelMorph: cases measured in processes of their own, a table and a JSON file.

Within a case both sides alternate, official, ours, official, ours, after their results have been compared; the ratio
is taken round by round. Each side has a process of its own, because the memory it takes and how that is allocated are
properties of a process; while one works, the other waits.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ..pipeline.files import write_text
from ..transforms.errors import InputError
from . import bench_cases
from .bench_cases import CASES, Case, Sides

PACKAGES = ("smoothmorph", "torch", "monai", "voxelmorph", "numpy")


def run_bench(out: Path, names: Sequence[str], device: str, threads: int, quick: bool, console: Console) -> dict:
    """Measure the named cases (all if none), print the table as it grows and write ``out``.

    Args:
        out: the JSON file; cases measured earlier on the same machine and versions stay in it.
        names: of the cases.
        device: ``cpu`` or ``cuda``.
        threads: for torch and OpenMP.
        quick: tiny grids and few rounds: to see that it works, not to measure.

    Raises:
        InputError: an unknown case, official voxelmorph missing, or two sides that do not compute the same.
    """
    unknown = sorted(set(names) - set(CASES))
    if unknown:
        raise InputError(f"there is no case {unknown[0]!r}; the cases are {', '.join(CASES)}.")
    environment = _environment(device, threads)
    results: dict[str, Any] = {"environment": environment, "cases": {}}
    if out.is_file():
        earlier = json.loads(out.read_text(encoding="utf-8"))
        if earlier.get("environment") == environment:
            results["cases"] = earlier["cases"]
    for name in names or CASES:
        case = CASES[name]
        with console.status(f"{name}: {case.title}"):
            results["cases"][name] = _measure(case, device, threads, quick)
        write_text(out, json.dumps(results, indent=2) + "\n")
    console.print(table(results))
    return results


def table(results: dict[str, Any]) -> Table:
    """The table of a results file; fits 80 columns."""
    ratio, memory = "official / ours\n(quartiles)", "peak\nGB"
    view = Table("case", "official", "ours", ratio, memory, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name, measured in results["cases"].items():
        unit, (low, high) = measured["unit"], measured["ratio_quartiles"]
        view.add_row(
            CASES[name].title,
            *(f"{measured[side]:.{3 if measured[side] < 100 else 4}g} {unit}" for side in ("official", "ours")),
            f"{measured['ratio']:.2f} ({low:.2f} to {high:.2f})",
            " / ".join(f"{peak:.2f}" for peak in measured["peak_gb"] or ()),
        )
    return view


def _measure(case: Case, device: str, threads: int, quick: bool) -> dict[str, Any]:
    setup = (case.name, device, threads, quick)
    with _process() as both, _process() as official, _process() as ours:
        differences = both.submit(_prepare, *setup).result()
        sides = {"official": both, "ours": both} if case.together else {"official": official, "ours": ours}
        if not case.together:
            both.shutdown()  # and with it what it holds
            for side, process in sides.items():
                process.submit(_prepare, *setup, side).result()
        rounds, warm_up = (2, 0) if quick else (case.rounds, case.warm_up)
        taken: list[tuple[float, float]] = []
        for _ in range(rounds + warm_up):
            turn = (device, case.repeats)
            first, second = (process.submit(_run, side, *turn).result() for side, process in sides.items())
            taken.append((first, second))
        peaks = [process.submit(_peak, device).result() for process in sides.values()] if case.memory else None
    theirs, own = zip(*taken[warm_up:], strict=True)
    ratios = [first / second for first, second in taken[warm_up:]]
    low, _, high = statistics.quantiles(ratios, n=4)
    scale, unit = (1, "s") if statistics.median(theirs) >= 1 else (1000, "ms")
    return {
        "official": scale * statistics.median(theirs),
        "ours": scale * statistics.median(own),
        "unit": unit,
        "ratio": statistics.median(ratios),
        "ratio_quartiles": [low, high],
        "peak_gb": peaks,
        "difference": differences[0],
        "gradient_difference": differences[1],
        "rounds": rounds,
    }


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


_held: dict[str, Any] = {}  # in a process of a case: its sides, and the memory held before their first run


def _prepare(name: str, device: str, threads: int, quick: bool, only: str = "") -> tuple[float | None, float | None]:
    case = CASES[name]
    sides: Sides = case.prepare(case, device, threads, quick, only)
    if sides.difference is not None and not sides.difference <= case.tolerance:
        raise InputError(f"{name}: the sides differ by {sides.difference:.1e}, more than {case.tolerance:.0e}.")
    _held.update(sides=sides, memory=bench_cases.memory_peak(device))
    return sides.difference, sides.gradient_difference


def _run(side: str, device: str, repeats: int) -> float:
    work, told = getattr(_held["sides"], side), None
    bench_cases.synchronize(device)
    started = time.perf_counter()
    for _ in range(repeats):
        told = work()
    bench_cases.synchronize(device)
    # A side that times itself leaves out what is not compared, and says so by returning a number.
    return told if isinstance(told, float) else (time.perf_counter() - started) / repeats


def _peak(device: str) -> float:
    """Peak memory above what was held before the first run, GB (10^9 bytes)."""
    return bench_cases.memory_peak(device) - _held["memory"]


def _environment(device: str, threads: int) -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "device": bench_cases.device_name(device),
        "threads": threads,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES if name != "voxelmorph" or _has_voxelmorph()},
    }


def _has_voxelmorph() -> bool:
    try:
        version("voxelmorph")
    except ImportError:  # PackageNotFoundError
        raise InputError(
            "the benchmark needs official voxelmorph 0.2: install it with pip install 'smoothmorph[dev]'."
        ) from None
    return True


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"
