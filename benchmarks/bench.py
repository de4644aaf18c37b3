"""Measure speed and memory against official VoxelMorph: ``python benchmarks/bench.py --help``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from smoothmorph.experiments.commands.common import guarded
from smoothmorph.experiments.run.executors import available_cores
from smoothmorph.pipeline.images.output_paths import check_output
from speed import run_bench

RESULTS = Path(__file__).parent / "results"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def bench(
    cases: Annotated[list[str] | None, typer.Argument(metavar="[CASE]...", help="Measure only these cases.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="JSON file to write; default: benchmarks/results/bench.json or bench_gpu.json.")
    ] = None,
    device: Annotated[str, typer.Option(help="Device: cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Number of threads; default: all cores.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Use tiny grids, only to check that it works.")] = False,
) -> None:
    """Measure speed and memory against official VoxelMorph."""
    name = "bench_quick" if quick else "bench" if device == "cpu" else "bench_gpu"
    out = out or RESULTS / f"{name}.json"
    check_output(out, (".json",))
    run_bench(out, cases or [], device, threads or available_cores(), quick, Console())


app.command()(guarded(bench))

if __name__ == "__main__":
    app()
