"""Commands for a study: run, show, lambda-grid."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...pipeline.files.text import write_text
from ...pipeline.images.output_paths import check_output
from ...transforms.basics.atomic import check_new
from ...transforms.basics.errors import InputError
from .common import RUNS, Overrides, echo

if TYPE_CHECKING:
    from ..study.study import Study

_BUILT_IN = sorted(path.stem for path in (Path(__file__).parents[1] / "studies").glob("*.yaml") if "." not in path.stem)


FAR = 0.8
"""An end of a grid of λ that misses its SDlogJ by more than this factor is told."""


def studies_there(incomplete: str) -> list[str]:
    """Shell completion: the built-in studies, and the YAML files in this folder."""
    names = [*_BUILT_IN, *sorted(path.name for path in Path().glob("*.yaml"))]
    return [name for name in names if name.startswith(incomplete)]


StudyName = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help=f"A built-in study ({', '.join(_BUILT_IN)}) or a .yaml file.",
        autocompletion=studies_there,
    ),
]


def run(
    study: StudyName,
    data_root: Annotated[Path | None, typer.Option(help="Folder with the files of the cohort.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of parallel processes; default: automatic.")
    ] = None,
    overrides: Overrides = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default: runs/<study>.")] = None,
    executor: Annotated[str, typer.Option(help="local: processes on this machine; ray: a Ray cluster.")] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="ray: HOST:PORT of the cluster's head, or auto; default: a new cluster on this machine."),
    ] = None,
    cpus: Annotated[
        int | None, typer.Option("--cpus-per-trial", min=1, help="ray: CPUs of each trial; default: 1.")
    ] = None,
    gpus: Annotated[
        float | None, typer.Option("--gpus-per-trial", min=0, help="ray: GPUs of each trial, e.g. 0.5; default: 0.")
    ] = None,
    together: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run a study: train or register the missing trials, then write tables and figures.

    Example:
        smoothmorph run demo --set training.epochs=3
    """
    from ..study.study import load_study

    if together is not None:
        raise InputError("--together was removed; to share a GPU, use --executor ray --gpus-per-trial 0.5.")
    loaded = load_study(study, overrides)
    chosen = _executor(executor, address, cpus, gpus, workers)
    path = out or RUNS / loaded.name
    _check_places(loaded, path, data_root)
    from ..run.runner import run_study

    result = run_study(loaded, path, data_root, workers, chosen)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def show(
    study: StudyName,
    overrides: Overrides = [],  # noqa: B006
    yaml: Annotated[bool, typer.Option("--yaml", help="Print a study file with every setting instead.")] = False,
) -> None:
    """Show the trials of a study and all their settings, without running them.

    Example:
        smoothmorph show demo
    """
    from ..study.description import study_view
    from ..study.study import load_study

    loaded = load_study(study, overrides)
    if yaml:
        sys.stdout.write(loaded.to_yaml())
        return
    from rich.console import Console

    Console().print(study_view(loaded))


def lambda_grid(
    study: StudyName,
    data_root: Annotated[Path | None, typer.Option(help="Folder with the files of the cohort.")] = None,
    low: Annotated[float, typer.Option(min=0.001, help="The smallest SDlogJ.")] = 0.06,
    high: Annotated[float, typer.Option(max=3.0, help="The largest SDlogJ.")] = 0.45,
    count: Annotated[int, typer.Option(min=2, max=50, help="Values of λ for each penalty.")] = 6,
    pairs: Annotated[int, typer.Option(min=1, help="Number of validation pairs to optimize.")] = 6,
    penalty: Annotated[list[str] | None, typer.Option(help="Only this penalty; can be repeated.")] = None,
    overrides: Overrides = [],  # noqa: B006
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a study file with these λ, to run it.")
    ] = None,
) -> None:
    """Place the λ of a study's penalties: for each, a grid that spans the same range of SDlogJ.

    The fields of a few validation pairs are optimized under the objective of each penalty, without training. Of the
    result, only the mean SDlogJ of the displacement is used: no label, no accuracy. The search begins at the λ of the
    study. The lines can be copied into the study file, or --out writes a new one. In a study of a network for many λ,
    they are its ranges, too.

    Example:
        smoothmorph lambda-grid demo --pairs 2 --count 4 --out placed.yaml
    """
    from ...pipeline.settings.device import check_device
    from ..study.study import load_study

    check_device(device)
    loaded = load_study(study, overrides)
    if low >= high:
        raise InputError(f"--low {low:g} must be below --high {high:g}.")
    if out is not None:
        check_output(out, (".yaml",))
        check_new(out)
    _check_data(loaded, data_root)

    from rich.console import Console

    from ..run.placement import DrawnPairs, curves_of, placed, with_lambda
    from ..run.progress import following

    drawn, grids = DrawnPairs(data_root, pairs), {}
    for curve in curves_of(loaded, penalty or []):
        with following(Console(stderr=True)) as tell:
            found = placed(curve, drawn, (low, high), count, device, tell)
        grids[curve.key] = [*found]
        if out is not None:  # after each penalty, so that a stopped search keeps what it found
            write_text(out, with_lambda(loaded, grids).to_yaml())
        reached = ", ".join(f"{value:.3f}" for value in found.values())
        echo(f"{curve.name}: [{', '.join(f'{weight:g}' for weight in found)}]  # SDlogJ {reached}")
        if max(found.values()) < FAR * high or min(found.values()) > low / FAR:
            echo(f"notice: no λ that was tried gives this penalty the whole range, {low:g} to {high:g}.", err=True)
    if out is not None:
        echo(out)


def _check_places(study: "Study", out: Path, data_root: Path | None) -> None:
    """Raise InputError, before anything heavy is loaded, if the folder of the run or of the data cannot be used."""
    from ..store.run_folder import check_place

    check_place(out, study)
    _check_data(study, data_root)


def _check_data(study: "Study", data_root: Path | None) -> None:
    from ...pipeline.settings.vocabulary import READERS

    for reader in dict.fromkeys(trial.cohort.reader for trial in study.trials):
        READERS[reader].folder(data_root)


def _executor(name: str, address: str | None, cpus: int | None, gpus: float | None, workers: int | None) -> Any:
    """The executor of a run; None: the default of the runner."""
    if name not in ("local", "ray"):
        raise InputError(f"unknown executor {name!r}; expected local or ray.")
    if name == "local":
        options = {"--address": address, "--cpus-per-trial": cpus, "--gpus-per-trial": gpus}
        given = [option for option, value in options.items() if value is not None]
        if given:
            raise InputError(f"{given[0]} needs a Ray cluster; add --executor ray, or leave it out.")
        return None
    if workers is not None:
        raise InputError(
            "--workers is the number of processes on this machine; with --executor ray, use --cpus-per-trial and "
            "--gpus-per-trial instead."
        )
    from ..run.distributed.executor import RayExecutor

    return RayExecutor(address, cpus or 1, gpus or 0.0)
