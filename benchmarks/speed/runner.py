"""Measure the cases, each in its own processes, and write a table and a JSON file.

First, the results of both sides are compared. Then the two sides alternate: official, ours, official, ours. The ratio
is taken in each round. Each side has its own process, because memory use and allocation are properties of a process.
While one process works, the other waits.
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

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from official_voxelmorph import import_voxelmorph
from smoothmorph.pipeline.cohorts.memory_allocator import keep_freed_memory
from smoothmorph.pipeline.files.text import read_json, write_text
from smoothmorph.pipeline.settings.device import choose_device
from smoothmorph.pipeline.settings.schema import ComputeSettings, parse
from smoothmorph.transforms.basics.errors import InputError, one_line

from .cases import CASES
from .rates import arithmetic, matrix_rate
from .sides import TOLERANCE, TOLERANCE_ON_GPU, Case, Place, Sides

PACKAGES = ("smoothmorph", "torch", "monai", "voxelmorph", "numpy")


def run_bench(
    out: Path, names: Sequence[str], device: str, threads: int, quick: bool, console: Console
) -> dict[str, Any]:
    """Measure the named cases, print the table and write ``out``.

    Args:
        out: the JSON file. Cases that were measured earlier with the same machine and versions stay in it.
        names: names of the cases; if empty, all cases for the device.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        threads: number of threads of torch and OpenMP.
        quick: use tiny grids and few rounds, only to check that everything works.
        console: shows the current case, and the table at the end.

    Raises:
        InputError: a case or device is unknown, official voxelmorph is missing, ``out`` is not a results file, or the
            two sides compute different results.
    """
    unknown = sorted(set(names) - set(CASES))
    if unknown:
        raise InputError(f"there is no case {unknown[0]!r}; the cases are {', '.join(CASES)}.")
    place = Place(choose_device(parse(ComputeSettings, {"device": device}, "--device").device), threads, quick)
    import_voxelmorph()  # fail early if it is missing
    environment = _environment(place)
    results = {"environment": environment, "cases": _earlier(out, environment)}
    usual = [name for name, case in CASES.items() if place.device.type in case.devices]
    for name in names or usual:
        with console.status(f"{name}: {CASES[name].title}"):
            results["cases"][name] = _measure(CASES[name], place)
        write_text(out, json.dumps(results, indent=2) + "\n")
    console.print(table(results["cases"]))
    return results


def table(cases: dict[str, Any]) -> Table:
    """Make the table of a results file; it fits 80 columns."""
    ratio, memory = "official / ours\n(quartiles)", "peak\nGB"
    view = Table("case", "official", "ours", ratio, memory, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name, measured in cases.items():
        unit, (low, high) = measured["unit"], measured["ratio_quartiles"]
        view.add_row(
            CASES[name].title,
            *(f"{measured[side]:.{3 if measured[side] < 100 else 4}g} {unit}" for side in ("official", "ours")),
            f"{measured['ratio']:.2f} ({low:.2f} to {high:.2f})",
            " / ".join(f"{peak:.2f}" for peak in measured["peak_gb"] or ()),
        )
    return view


def _earlier(out: Path, environment: dict[str, Any]) -> dict[str, Any]:
    """Read the cases in ``out`` that were measured in the same environment."""
    if not out.is_file():
        return {}
    try:
        earlier = read_json(out)
        same = earlier["environment"] == environment
        table(cases := {name: case for name, case in earlier["cases"].items() if same and name in CASES})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{out} is not a results file ({one_line(error)}); remove it or give another --out.") from None
    return cases


def _measure(case: Case, place: Place) -> dict[str, Any]:
    with _process() as comparing:
        differences = comparing.submit(_compare, case.name, place).result()
    with _process() as official, _process() as other:
        ours = official if case.one_process else other
        sides = {"official": official, "ours": ours}
        for process, side in {process: side for side, process in sides.items()}.items():  # once if both share a process
            process.submit(_prepare, case.name, place, side).result()
        # Count before the step is recorded as a graph, which hides its operations.
        gflop = ours.submit(_arithmetic).result() if case.training else None
        rounds, warm_up = (2, 0) if place.quick else (case.rounds, case.warm_up)
        taken: list[tuple[float, float]] = []
        for _ in range(rounds + warm_up):
            first, second = (process.submit(_run, side, case.repeats).result() for side, process in sides.items())
            taken.append((first, second))
        peaks = [process.submit(_peak).result() for process in sides.values()] if case.memory else None
        rate = ours.submit(_matrix_rate, case.precision).result() if case.training else None
    theirs, own = zip(*taken[warm_up:], strict=True)
    ratios = [first / second for first, second in taken[warm_up:]]
    low, _, high = statistics.quantiles(ratios, n=4)
    seconds = statistics.median(own)
    reached = {"gflop": gflop, "of_matrix_rate": gflop / seconds / rate} if gflop and rate else {}
    scale, unit = (1, "s") if statistics.median(theirs) >= 1 else (1000, "ms")
    return {
        "official": scale * statistics.median(theirs),
        "ours": scale * seconds,
        "unit": unit,
        "ratio": statistics.median(ratios),
        "ratio_quartiles": [low, high],
        "peak_gb": peaks,
        "differences": differences,
        "rounds": rounds,
        **reached,
    }


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def _compare(name: str, place: Place) -> dict[str, float] | None:
    differences = CASES[name].differences(place)
    allowed = TOLERANCE_ON_GPU if place.device.type == "cuda" else TOLERANCE
    for precision, difference in (differences or {}).items():
        if not difference <= allowed[precision]:
            raise InputError(
                f"{name}: in {precision} the two sides differ by {difference:.1e}, more than {allowed[precision]:.0e}."
            )
    return differences


_held: dict[str, Any] = {}  # in the process of a case: sides, place, and memory before the first run


def _prepare(name: str, place: Place, side: str) -> None:
    if CASES[name].training and side == "ours":
        keep_freed_memory()
    sides = CASES[name].sides(place)
    _held.update(sides=sides, place=place, memory=place.memory_peak())


def _run(side: str, repeats: int) -> float:
    sides, place = _held["sides"], _held["place"]
    assert isinstance(sides, Sides)
    work, told = getattr(sides, side), None
    place.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        told = work()
    place.synchronize()
    return told if isinstance(told, float) else (time.perf_counter() - started) / repeats


def _peak() -> float:
    """Return the peak memory above that before the first run, in GB."""
    return _held["place"].memory_peak() - _held["memory"]


def _arithmetic() -> float:
    """Count the GFLOP of one run of our side."""
    return arithmetic(_held["sides"].ours)


def _matrix_rate(precision: str) -> float:
    """Measure the GFLOP/s of a matrix product on the device of the case."""
    return matrix_rate(_held["place"], precision)


def _environment(place: Place) -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "device": torch.cuda.get_device_name(place.device) if place.device.type == "cuda" else "cpu",
        "threads": place.threads,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "quick": place.quick,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"
