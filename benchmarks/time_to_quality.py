"""Measure quality on frozen test pairs against training time: official VoxelMorph, and ours with the recipe of `fast`.

    python benchmarks/time_to_quality.py --data-root DIR [--out DIR]

Official: one training of voxelmorph 0.2 with its own initialization and the published protocol, measured at several
steps. Ours: separate trainings of the built-in study `fast`, with all and with half of its steps. Both read images from
memory and are measured on the same pairs of unseen subjects. Only training time counts. Keep the machine quiet: this
takes an hour on 2 cores. Finished parts are kept, and the same command continues. --variants measures the quality of
`fast` in float32, and with a larger λ that makes up for the recipe's rougher fields.
"""

import argparse
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from official_voxelmorph import import_voxelmorph, official_network
from smoothmorph.experiments.figures.style import GREY, caption, colour_of, legend, new_figure, save, styled
from smoothmorph.experiments.study.study import load_study
from smoothmorph.networks import PENALTIES, VoxelMorph, from_official
from smoothmorph.pipeline.cohorts.memory_allocator import keep_freed_memory
from smoothmorph.pipeline.cohorts.preparation import prepare
from smoothmorph.pipeline.cohorts.splits import training_pairs
from smoothmorph.pipeline.evaluation.rows import by_network, evaluate
from smoothmorph.pipeline.files.text import write_atomically
from smoothmorph.pipeline.settings.schema import TrialSettings
from smoothmorph.pipeline.training.loop import train

RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
STEPS, RATE = 10_000, 1e-4  # steps and learning rate of the published protocol
MEASURED_AT = (250, 500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000)
PARTS = (0.5, 1.0)  # fractions of the recipe's epochs
SMOOTHER = {"l2": 0.013, "l1": 0.012, "bending-pure": 0.014}  # λ that gives fields no rougher than the official ones
VARIANTS = ("float32", "smoother")
SHOWN = {"mse": "MSE (a.u.²)", "dice": "Dice of 24 labels", "displacement_sdlogj": "SDlogJ"}
METRICS = [*SHOWN, "displacement_nonpositive_percent", "velocity_nonpositive_percent", "loss"]
CAPTION = (
    "Neurite-OASIS 2-D, 160x192, λ = 0.01, 248 training subjects; means over 166 frozen pairs of unseen subjects. "
    "Official: one training (100 x 100 steps, Adam 1e-4, float32), measured at several steps. Ours: three seeds; each "
    "point is a whole training. Only training time counts, on 2 cores."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="folder of neurite-oasis-2d")
    parser.add_argument("--out", type=Path, default=Path("runs/time_to_quality"), help="folder of the trials")
    parser.add_argument("--variants", action="store_true", help="measure only the quality of the recipe's variants")
    arguments = parser.parse_args()
    root, out = arguments.data_root, arguments.out
    trials = load_study("fast").trials
    done: list[pd.DataFrame] = []
    if arguments.variants:
        for name, trial in product(VARIANTS, trials):
            file = f"{name}_{trial.objective.penalty}_s{trial.seed}"
            varied = variant(trial, name)
            points = _kept(out / f"{file}.parquet", lambda t=varied, f=file: ours(t, 1.0, root, out / f))
            done.append(points.drop(columns="seconds").assign(variant=name, weight=varied.objective.weight))
        pd.concat(done, ignore_index=True).to_csv(RESULTS / "recipe_variants.csv", index=False, float_format="%.6g")
        return
    for trial in sorted(trials, key=lambda trial: trial.seed):  # the sides take turns
        if trial.seed == 0:
            done.append(_kept(out / f"official_{trial.objective.penalty}.parquet", lambda t=trial: official(t, root)))
        for part in PARTS:
            name = f"ours_{trial.objective.penalty}_{part:g}_s{trial.seed}"
            done.append(_kept(out / f"{name}.parquet", lambda t=trial, p=part, n=name: ours(t, p, root, out / n)))
    points = pd.concat(done, ignore_index=True)
    points.to_csv(RESULTS / "time_to_quality.csv", index=False, float_format="%.6g")
    variants = pd.read_csv(RESULTS / "recipe_variants.csv")
    save(draw(points, variants[variants["variant"] == "smoother"]), RESULTS, "time_to_quality")


def variant(trial: TrialSettings, name: str) -> TrialSettings:
    """Return the trial in float32, or with the λ that makes up for the recipe's rougher fields."""
    if name == "float32":
        return _varied(trial, {"training": {"precision": "float32"}})
    return _varied(trial, {"objective": {"weight": SMOOTHER[trial.objective.penalty]}})


def _varied(trial: TrialSettings, changes: dict[str, dict[str, object]]) -> TrialSettings:
    sections = {name: getattr(trial, name).model_copy(update=values) for name, values in changes.items()}
    return trial.model_copy(update=sections)


def official(trial: TrialSettings, root: Path) -> pd.DataFrame:
    """Train by the published protocol with the official code, and measure at some of the steps."""
    prepared, vxm = prepare(trial, root), import_voxelmorph()
    torch.manual_seed(trial.seed)
    shape = next(iter(prepared.samples.values()))["image"].shape[1:]
    network = official_network(shape)
    optimizer, similarity = torch.optim.Adam(network.parameters(), lr=RATE), vxm.losses.MSE()
    pairs = training_pairs(prepared.split.train, STEPS, trial.seed, epoch=1)
    seconds, started, points = 0.0, time.perf_counter(), []
    for step, (moving_id, fixed_id) in enumerate(pairs, start=1):
        moving, fixed = (prepared.samples[name]["image"][None] for name in (moving_id, fixed_id))
        warped, velocity = network(moving, fixed)
        penalty = _penalty(trial.objective.penalty, velocity)
        loss = similarity.loss(fixed, warped) + trial.objective.weight * trial.objective.multiplier * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in MEASURED_AT:
            seconds += time.perf_counter() - started
            rows = _measure(from_official(network.state_dict()), trial, root)
            points.append(_point("official", trial, step, seconds, rows))
            started = time.perf_counter()
    return pd.DataFrame(points)


def _penalty(name: str, velocity: torch.Tensor) -> torch.Tensor:
    """Compute the published study's penalty: voxelmorph's Grad('l1') or Grad('l2'), or bending without mixed terms."""
    differences = [velocity.diff(n=2 if name == "bending-pure" else 1, dim=axis) for axis in (2, 3)]
    return torch.stack([(d.abs() if name == "l1" else d.square()).mean() for d in differences]).mean()


def ours(trial: TrialSettings, part: float, root: Path, folder: Path) -> pd.DataFrame:
    """Train a trial of the recipe for a part of its epochs and measure it."""
    epochs = max(round(part * trial.training.epochs), 1)
    trial = _varied(trial, {"training": {"epochs": epochs}})
    keep_freed_memory()  # as a trial does
    model = train(trial, prepare(trial, root), folder, CPU)
    history = pd.read_parquet(folder / "history.parquet")
    steps, seconds = epochs * trial.training.steps_per_epoch, float(history["seconds"].sum())
    return pd.DataFrame([_point("ours", trial, steps, seconds, _measure(model, trial, root))])


def _measure(model: VoxelMorph, trial: TrialSettings, root: Path) -> pd.DataFrame:
    return evaluate(by_network(model, trial, CPU), trial, prepare(trial, root), slow=False)[0]


def _point(side: str, trial: TrialSettings, steps: int, seconds: float, rows: pd.DataFrame) -> dict[str, object]:
    about = {"side": side, "penalty": trial.objective.penalty, "seed": trial.seed, "steps": steps, "seconds": seconds}
    return {**about, **{metric: rows[metric].mean() for metric in METRICS}}


def _kept(path: Path, measure: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the result of ``measure``, from the file if it ran before."""
    if not path.exists():
        print(f"{time.strftime('%H:%M:%S')} {path.stem}", flush=True)
        points = measure()
        write_atomically(path, lambda partial: points.to_parquet(partial))
        print(points.tail(1).to_string(index=False), flush=True)
    return pd.read_parquet(path)


def draw(points: pd.DataFrame, smoother: pd.DataFrame) -> Figure:
    """Draw a column per penalty and a row per metric; ``smoother``: trainings of the recipe with a larger λ."""
    penalties = list(dict.fromkeys(points["penalty"]))
    with styled():
        figure = new_figure(8.4, 6.6, "Quality on unseen pairs against time of training")
        grid = figure.subplots(len(SHOWN), len(penalties), sharex=True, sharey="row", squeeze=False)
        for line, (metric, label) in zip(grid, SHOWN.items(), strict=True):
            line[0].set_ylabel(label)
            for axes, penalty in zip(line, penalties, strict=True):
                own = points[points["penalty"] == penalty]
                _panel(axes, own, metric, colour_of(penalty))
                at = own.loc[(own["side"] == "ours") & (own["steps"] == own.loc[own["side"] == "ours", "steps"].max())]
                values = smoother.loc[smoother["penalty"] == penalty, metric]
                seconds = [at["seconds"].mean()] * len(values)
                axes.scatter(seconds, values, marker="D", s=18, facecolors="white", edgecolors="black", zorder=4)
        for axes, penalty in zip(grid[0], penalties, strict=True):
            axes.set_title(PENALTIES.title(penalty), color=colour_of(penalty))
        for axes in grid[-1]:
            axes.set_xscale("log")
            axes.set_xlabel("training time (s)")
            axes.set_xticks([10, 30, 100, 300], ["10", "30", "100", "300"])
        handles = [
            Line2D([], [], color=GREY, marker="o", markersize=3, label="official voxelmorph,\npublished protocol"),
            Line2D([], [], color="black", marker="D", markersize=4, label="smoothmorph, recipe\nof the study fast"),
            Line2D(
                [],
                [],
                color="black",
                marker="D",
                markersize=4,
                ls="",
                markerfacecolor="white",
                label="the same with λ = " + ",\n".join(f"{w:g} ({PENALTIES.title(p)})" for p, w in SMOOTHER.items()),
            ),
            Line2D([], [], color=GREY, ls=":", label="official at its end"),
        ]
        legend(figure, handles)
        caption(figure, CAPTION)
    return figure


def _panel(axes: Axes, points: pd.DataFrame, metric: str, colour: str) -> None:
    official, ours = (points[points["side"] == side].sort_values("seconds") for side in ("official", "ours"))
    axes.plot(official["seconds"], official[metric], color=GREY, marker="o", markersize=3, linewidth=1.2)
    axes.axhline(official[metric].iloc[-1], color=GREY, linestyle=":", linewidth=1)
    for _, seed in ours.groupby("seed"):
        axes.plot(seed["seconds"], seed[metric], color=colour, marker="D", markersize=4, linewidth=1)
    axes.grid(axis="y", alpha=0.3)


if __name__ == "__main__":
    main()
