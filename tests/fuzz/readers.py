"""All readers: their valid inputs, how they read one in the folder ``in``, and requirements for accepted values."""

import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from fuzz import seeds
from fuzz.judge import Reader, must
from smoothmorph.experiments import figures, statistics
from smoothmorph.experiments.figures.fields import field_figures
from smoothmorph.experiments.outputs import study_result as outcome
from smoothmorph.experiments.outputs.tables import collect, collect_history
from smoothmorph.experiments.outputs.terminal_tables import recommendation_view
from smoothmorph.experiments.statistics import Limit, recommend
from smoothmorph.experiments.store.archive import environments
from smoothmorph.experiments.store.joining import join
from smoothmorph.experiments.store.run_folder import open_run, states
from smoothmorph.experiments.study.description import study_view
from smoothmorph.experiments.study.study import load_study, parse_overrides
from smoothmorph.pipeline.cohorts.opening import read_cohort
from smoothmorph.pipeline.cohorts.splits import split_cohort
from smoothmorph.pipeline.cohorts.tables.bids import BidsQuery, find_bids
from smoothmorph.pipeline.cohorts.tables.writing import write_table
from smoothmorph.pipeline.downloads.unpack import unpack
from smoothmorph.pipeline.evaluation.finished_pairs import FinishedPairs
from smoothmorph.pipeline.fields.landmarks import read_landmarks
from smoothmorph.pipeline.images.volumes import Volume, read_volume
from smoothmorph.pipeline.models.official_weights import import_official
from smoothmorph.pipeline.models.trained_model import open_trained
from smoothmorph.pipeline.pair_list import read_pairs
from smoothmorph.pipeline.registration import ImagePair, register
from smoothmorph.pipeline.settings.schema import CohortSettings, SplitSettings
from smoothmorph.pipeline.training.handlers import TrainingState
from smoothmorph.pipeline.training.parts import build_optimizer, build_schedule
from smoothmorph.transforms import read_field
from smoothmorph.transforms.field_files import is_affine

IN, OUT = Path("in"), Path("out")


def printed(view: Any) -> str:
    """The text as a terminal shows it."""
    console = Console(file=io.StringIO(), width=200)
    console.print(view)
    return check_shown(console.file.getvalue())


def check_shown(text: str) -> str:
    strange = {character for character in text if not character.isprintable() and character != "\n"}
    must(not strange, f"control characters reach the screen: {sorted(strange)!r}")
    text.encode()  # a lone surrogate cannot be written
    return text


def an_image(ending: str, labels: bool = False) -> Callable[[], Any]:
    return lambda: read_volume(IN / f"image{ending}", labels)


def a_field(name: str) -> Callable[[], Any]:
    def read() -> Any:
        found = read_field(IN / name, seeds.GRID if name.startswith("affine") else None)
        return found, is_affine(IN / name), found.dense()

    return read


def study() -> Any:
    found = load_study(str(IN / "study.yaml"))
    must(len(found.trials) <= 10_000, f"{len(found.trials)} trials")
    return found.trials, found.to_yaml(), printed(study_view(found))


def override() -> Any:
    text = (IN / "set").read_bytes() if (IN / "set").exists() else b""
    text = os.fsdecode(text.replace(b"\0", b""))  # as a shell passes it
    found = parse_overrides([text])
    return found, load_study("demo", [text]).trials


def table() -> Any:
    settings = CohortSettings(reader="table", file="subjects.csv", labels="names.txt")
    return cohort(settings, SplitSettings(source="files", train="train.txt", validation="validation.txt", test=None))


def declared() -> Any:
    return cohort(CohortSettings(reader="table", file="subjects.csv"), SplitSettings(source="declared", test=None))


def cohort(settings: CohortSettings, split: SplitSettings | None = None) -> Any:
    found = read_cohort(settings, IN)
    must(all(subject.id.isprintable() for subject in found.subjects), "a subject's id has control characters")
    sides = split_cohort(found, split, IN) if split is not None else None
    return found.ids, found.subjects, found.label_names, sides, found.fingerprint()


def bids() -> Any:
    found = find_bids(IN, BidsQuery())
    write_table(found, OUT / "subjects.csv")
    return found, (OUT / "subjects.csv").read_text()


def model() -> Any:
    found = open_trained(IN / "model.safetensors")
    values = torch.rand(1, *seeds.SLICE.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moving, fixed = (Volume(Path(f"in/{name}"), values.roll(turn, 1), seeds.SLICE) for turn, name in enumerate("mf"))
    return found, register(found, ImagePair(moving, fixed)).field


def official() -> Any:
    import_official(IN / "weights.pt", OUT / "model.safetensors")
    return open_trained(OUT / "model.safetensors")


def checkpoint() -> Any:
    settings, network = seeds.checkpoint_settings(), seeds.network()
    optimizer = build_optimizer(settings, network)
    parts = {"optimizer": optimizer, "schedule": build_schedule(settings, optimizer)}
    state = TrainingState.resume(IN, settings, network, parts)
    must(type(state.epoch) is int and 0 <= state.epoch <= settings.training.epochs, f"epoch {state.epoch!r}")
    must(len(state.history) == state.epoch, f"{len(state.history)} rows of history, epoch {state.epoch}")
    sum(weight.sum() for weight in network.parameters()).backward()  # as in a training step
    optimizer.step()
    parts["schedule"].step()
    return state.history, state.best, state.last, state.best_epoch, network


def run_status() -> Any:
    console = Console(file=io.StringIO(), width=200)
    found = outcome.status(IN / "run", console)
    run = open_run(IN / "run")
    history = collect_history(run)
    environments(run.path, run.trials)
    complete = [trial for trial, state in found.items() if state.state == "complete"]
    rows = collect(run, complete)
    check_rows(rows, run)
    return check_shown(console.file.getvalue()), rows, history


def check_rows(rows: pd.DataFrame, run: Any) -> None:
    """Trials that ``status`` calls complete have every test pair once, with numbers in their ranges."""
    for trial, own in rows.groupby("trial") if len(rows) else ():
        asked = run.trials[trial].pairs
        must(len(own) == asked.test or (asked.chosen and len(own) < asked.test), f"complete with {len(own)} rows")
        must(not own.duplicated(["moving", "fixed"]).any(), "complete with one pair twice")
    for name in rows:
        if name in ("mse", "ncc") or name.endswith(("_percent", "sdlogj", "sdlogj_l2r")):
            must(rows[name].dtype.kind in "fi", f"complete with {rows[name].dtype} as {name}")
            must(np.isfinite(rows[name]).all(), f"complete with NaN or infinite {name}")
            low, high = (-1 if name == "ncc" else 0), (100 if name.endswith("nonpositive_percent") else np.inf)
            must(rows[name].between(low, high).all(), f"complete with {name} out of its range")


def run_examples() -> Any:
    run = open_run(IN / "run")
    return sorted(field_figures(run, collect(run)))


def run_recommend() -> Any:
    limit = Limit("displacement_nonpositive_percent", 50.0)
    rows = collect(IN / "run", [t for t, state in states(open_run(IN / "run")).items() if state.state == "complete"])
    return printed(recommendation_view(recommend(rows, limit), limit)) if len(rows) else ""


def run_joined() -> Any:
    return list(join(IN / "a/b/host", IN / "run").trials)


def run_archived() -> Any:
    figures.draw_figures = lambda *_: []  # figures take seconds and only use rows that were read
    statistics.analyse = lambda *_: statistics.Analysis({}, [], [])
    kept = outcome.archive(IN / "run", OUT / "kept", console=Console(file=io.StringIO()))
    for path in sorted((OUT / "kept" / "tables").glob("*.csv")):
        cells = pd.read_csv(path, dtype=str).stack()
        formulas = cells[cells.str.match(r"[=@+\t\r]|-(?![\d.])")]
        must(formulas.empty, f"a formula in {path.name}")
    return kept.rows, kept.history


def finished() -> Any:
    return FinishedPairs(IN).read(0, {"trial": "t", "moving": "a", "fixed": "b"})


def archive(name: str) -> Callable[[], Any]:
    return lambda: sorted(path.as_posix() for path in unpack(IN / name, OUT / "data", "dataset.json").rglob("*"))


def _readers() -> Iterable[tuple[str, Reader]]:
    yield "study", Reader("study", seeds.studies, study, names=r"\bin\b|^error: study ", hostile=seeds.huge_studies)
    yield "study-set", Reader("study", seeds.overrides, override, names="--set|^error: study demo")
    paths = r"\.(csv|txt|json|tsv)$"
    yield "table", Reader("tables", seeds.tables, table, paths, names="in/|^error: (cohort|split)|the cohort")
    yield (
        "table-declared",
        Reader("tables", seeds.tables, declared, paths, names="in/|^error: (cohort|split)|the cohort"),
    )
    yield (
        "dataset.json",
        Reader(
            "tables",
            seeds.decathlon,
            lambda: cohort(CohortSettings(reader="decathlon", spatial_dims=3)),
            paths,
            names="in/|the cohort|subject ",
        ),
    )
    yield (
        "label-table",
        Reader(
            "tables",
            seeds.neurite,
            lambda: cohort(CohortSettings(reader="neurite-oasis", labels="seg4")),
            paths,
            names="in/|the cohort|subject ",
        ),
    )
    yield "bids", Reader("tables", seeds.bids, bids, r"\.tsv$", ("out/",), names="in")
    yield "pair-list", Reader("tables", seeds.pairs, lambda: read_pairs(IN / "pairs.json"), paths)
    yield "landmarks", Reader("tables", seeds.landmarks, lambda: read_landmarks(IN / "points.csv", 3))
    for ending in (".nii", ".nii.gz"):
        yield f"image{ending}", Reader("images", lambda e=ending: seeds.images(e), an_image(ending))
        yield f"labels{ending}", Reader("images", lambda e=ending: seeds.images(e), an_image(ending, True))
    for ending in (".mha", ".mhd", ".nrrd"):
        yield f"image{ending}", Reader("images", lambda e=ending: seeds.text_images(e), an_image(ending))
    yield "dicom", Reader("images", seeds.dicom, lambda: read_volume(IN))
    for ending in (".nii", ".nii.gz", ".mha", ".nrrd", ".h5", ".npz"):
        yield f"field{ending}", Reader("fields", lambda e=ending: seeds.fields(e), a_field(f"field{ending}"))
    for ending in (".mat", ".tfm", ".txt"):
        yield f"affine{ending}", Reader("fields", lambda e=ending: seeds.transforms(e), a_field(f"affine{ending}"))
    yield "model", Reader("models", seeds.models, model)
    yield "official", Reader("models", seeds.official, official, writes=("out/",))
    yield "checkpoint", Reader("models", seeds.checkpoints, checkpoint, writes=("in/history.parquet",))
    yield "run-status", Reader("runs", seeds.runs, run_status, "^run/", hostile=seeds.runs_outside)
    yield "run-examples", Reader("runs", seeds.runs, run_examples, r"\.npz$")
    yield "run-recommend", Reader("runs", seeds.runs, run_recommend, names="")
    yield (
        "run-join",
        Reader("runs", lambda: seeds.runs()[:1], run_joined, "^run/", ("in/a/b/host/",), hostile=seeds.runs_outside),
    )
    yield "run-archive", Reader("runs", seeds.runs, run_archived, "^run/", ("out/",), hostile=seeds.runs_outside)
    yield "finished-pair", Reader("runs", seeds.finished, finished)
    for ending in (".tar", ".tar.gz"):
        yield (
            f"archive{ending}",
            Reader("archives", lambda e=ending: seeds.archives(e), archive(f"set{ending}"), writes=("out/",)),
        )


READERS: dict[str, Reader] = dict(_readers())
FAMILIES = sorted({reader.family for reader in READERS.values()})
