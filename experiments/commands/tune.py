"""The command `tune`: the best λ of a network for a person's own pairs."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...networks import PENALTIES
from ...pipeline.evaluation import METRICS
from ...pipeline.models.built_in import find_model
from ...pipeline.settings.device import check_device
from ...pipeline.settings.vocabulary import READERS
from ...transforms.basics.errors import InputError, did_you_mean, quoted
from ...transforms.basics.options import names
from .common import COMPARED, RUNS, Accuracy, MaxFolding, MaxSDlogJ, echo, read_limit

if TYPE_CHECKING:
    from ...pipeline import Prepared, TrialSettings
    from ..study.study import Study

TABLE = "subjects.csv"
"""The table of subjects in a data folder, as `data table` writes it in its example."""


def tune(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A network for many λ: a .safetensors file, its folder, or a name from `smoothmorph models`.",
        ),
    ],
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of your images, with a table of subjects (see `data table`).")
    ] = None,
    reader: Annotated[
        str | None, typer.Option(help=f"{', '.join(READERS)}; default: a table of subjects, {TABLE}.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Number of pairs, drawn at random.")] = 20,
    penalty: Annotated[
        list[str], typer.Option("--penalty", help="A penalty to try; may be repeated; default: the recommended one.")
    ] = [],  # noqa: B006
    all_penalties: Annotated[
        bool, typer.Option("--all-penalties", help="Try every penalty that the network knows.")
    ] = False,
    count: Annotated[int, typer.Option(min=2, max=100, help="Number of λ per penalty.")] = 8,
    max_folding: MaxFolding = None,
    max_sdlogj: MaxSDlogJ = None,
    accuracy: Accuracy = None,
    per_structure: Annotated[
        bool, typer.Option("--per-structure", help="Show the best λ of each structure also if they are many.")
    ] = False,
    overrides: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="Change cohort, split or pairs, e.g. cohort.labels=seg24."),
    ] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default: runs/tune-<model>.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Find the best λ of a network for your own pairs, in minutes and without training.

    The network must be one that was trained for many λ. Every pair is registered at each λ. With label maps or
    landmarks, the most accurate λ is recommended. Without them, give the largest folding or SDlogJ that you accept.

    Example:
        smoothmorph tune conditional.safetensors --data-root data
    """
    limit = read_limit(max_folding, max_sdlogj)
    source = find_model(model)
    data = _data(reader, data_root, pairs, overrides)
    _check_names(accuracy, penalty, all_penalties, device)

    from rich.console import Console

    from ...pipeline import open_trained, prepare
    from ...pipeline.models.suitability import differences
    from ..outputs.study_result import print_trials
    from ..outputs.tuning_view import tuning_view
    from ..run.progress import counting
    from ..run.runner import run_study
    from ..statistics.tuning import tune as find
    from ..store.run_folder import check_place
    from ..study.tuning import conditional, tuning_study

    trained = open_trained(source)
    penalties = conditional(trained).ranges.names if all_penalties else penalty
    study = tuning_study(model, trained, data, penalties, count, device)
    path = out or RUNS / study.name
    check_place(path, study)
    study = _fewer_subjects(study, data, data_root)
    settings = study.trials[0]
    with counting("reading the images") as progress:
        prepared = prepare(settings, data_root, progress)
    _check_accuracy(settings, prepared, accuracy, limit is not None)
    for line in differences(trained, settings, prepared):
        echo(f"notice: {line}.", err=True)
    result = run_study(study, path, data_root, workers=1, console=Console(stderr=True), tell=print_trials)
    if result.exit_code:
        raise typer.Exit(result.exit_code)
    found = find(result.rows, limit, accuracy)
    Console().print(tuning_view(found, limit, per_structure), soft_wrap=False)
    best = f"--penalty {shlex.quote(found.found.best['penalty'])} --lambda {found.weight:.12g}"
    echo(f"Figures: smoothmorph report {shlex.quote(str(path))}")
    echo(f"To use it: smoothmorph register A B --model {shlex.quote(str(model))} {best}")


def _data(reader: str | None, root: Path | None, pairs: int, overrides: list[str]) -> dict[str, Any]:
    """Dotted keys of cohort, split and pairs, checked before anything heavy is loaded."""
    from ..study.study import data_settings, parse_overrides

    given = parse_overrides(overrides)
    of_tables = next(name for name, entry in READERS.items() if "file" in names(entry.options))
    reader = READERS.check(reader or given.get("cohort.reader") or of_tables)
    data = {"cohort.reader": reader, "pairs.test": pairs, **given}
    READERS[reader].folder(root)
    if reader == of_tables and "cohort.file" not in given and root is not None:
        data["cohort.file"] = _table_in(root)
    data_settings(reader, overrides)
    return data


def _table_in(root: Path) -> str:
    """The table of subjects in a folder: ``subjects.csv``, or its only CSV file."""
    tables = sorted(path.name for path in root.glob("*.csv"))
    if TABLE in tables or len(tables) == 1:
        return TABLE if TABLE in tables else tables[0]
    if tables:
        raise InputError(
            f"{root} has {len(tables)} tables, {', '.join(tables[:5])}; name one with --set cohort.file=FILE."
        )
    raise InputError(
        f"{root} has no table of subjects; make one with `smoothmorph data table --images '{root}/*.nii.gz' --out "
        f"{root / TABLE}` (--labels for label maps), or name another --reader."
    )


def _check_names(accuracy: str | None, penalties: list[str], every: bool, device: str) -> None:
    """Raise InputError for unknown names and options that exclude each other, before anything heavy is loaded."""
    check_device(device)
    if penalties and every:
        raise InputError("give either --penalty or --all-penalties.")
    for name in penalties:
        PENALTIES.check(name)
    if accuracy is not None and accuracy not in COMPARED:
        hint = did_you_mean(accuracy, COMPARED)
        raise InputError(f"--accuracy {quoted(accuracy)}: {hint}Expected one of {', '.join(COMPARED)}.")


def _fewer_subjects(study: "Study", data: dict[str, Any], root: Path | None) -> "Study":
    """The study with as many subjects as its pairs need, if there are many more: all of them would be read.

    A split or a rule for pairs that the person gave stays.
    """
    from ...pipeline.cohorts.preparation import find_data

    trial = study.trials[0]
    if any(key.startswith("split.") for key in data) or trial.pairs.chosen:
        return study
    cohort, _ = find_data(trial.cohort, trial.split, root, trial.pairs)
    needed, groups = 2 * trial.pairs.test, len({subject.group for subject in cohort.subjects})
    return study.override("split.test", float(f"{needed / groups:.3g}")) if needed < groups else study


def _check_accuracy(settings: "TrialSettings", prepared: "Prepared", accuracy: str | None, limited: bool) -> None:
    """Raise InputError if the pairs are not measured in ``accuracy``, or if nothing says how rough a field may be."""
    samples = [prepared.samples[name] for pair in prepared.test_pairs for name in pair]
    parts = {"labels": "label", "landmarks": "landmarks"}
    lacking = {part for part, key in parts.items() if any(sample[key] is None for sample in samples)}
    similar = METRICS.of_role("similarity")
    minimized = settings.objective.similarity if settings.objective.similarity in similar else similar[0]
    known = [name for name in METRICS.of_role("accuracy") if lacking.isdisjoint(METRICS[name].needs)] + [minimized]
    if accuracy is not None and accuracy not in known:
        raise InputError(f"--accuracy {accuracy} is not measured on these pairs; choose one of {', '.join(known)}.")
    if not limited and (accuracy or known[0]) == minimized:
        raise InputError(
            "the similarity alone would always choose a rough field; give label maps or landmarks, or a limit: "
            "--max-folding (such as 0.1%) or --max-sdlogj (such as 0.25)."
        )
