"""Figures of example pairs: displacement components, and the moving image's grid carried along with it."""

import itertools
import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...networks import PENALTIES
from ...pipeline import METHODS, READERS, TrialSettings
from ...pipeline.evaluation import REFINED
from ..rows.summaries import baselines, configuration, penalized, pick, records, variant
from ..store.archive import examples_file, read_examples
from ..store.run_folder import Run
from . import panels
from .style import caption, colour_of, new_figure

MANY_WEIGHTS = 8
"""Up to so many λ in all, each has a column of its own."""
LONGEST_SUFFIX = 60
"""Characters of what tells the files of figures of one kind apart."""
Images = dict[str, np.ndarray]


class Example(NamedTuple):
    """The example pairs of one trial, of a penalty and λ or of a baseline's name: arrays as in ``examples.npz``."""

    penalty: str
    weight: float
    arrays: Images

    @property
    def name(self) -> str:
        return f"{PENALTIES.title(self.penalty)}\nλ = {self.weight:g}" if self.penalty in PENALTIES else self.penalty


def field_figures(run: Run, rows: pd.DataFrame) -> dict[str, Figure]:
    """Flow fields and warped grids; one of each per model kind or further setting, named after it.

    The baselines are in each of them, or in figures of their own where no trial has a penalty. Of a refined network
    the example pairs are those of the network alone.
    """
    rows = pick(rows, rows[REFINED] == 0).drop(columns=REFINED) if REFINED in rows else rows
    trained, without = penalized(rows), _of_baselines(run, baselines(rows))
    others = [key for key in configuration(trained) if key not in ("penalty", "lambda")]
    drawn: dict[str, Figure] = {}
    parts = [part for _, part in trained.groupby(others, dropna=False)] if len(trained) else [rows]
    for part in parts:
        examples = [*(_choose(run, part) if len(trained) else []), *without]
        if not examples:
            continue
        words = variant(part.iloc[0], rows) if len(trained) else []
        suffix = _suffix(words, drawn)
        title = ", ".join([run.study.title, *words])
        settings = run.trials[part["trial"].iloc[0]]
        drawn[f"flow_fields{suffix}"] = flow_fields(examples, settings, title)
        drawn[f"warped_grids{suffix}"] = warped_grids(examples, settings, title)
        across = _across(run, penalized(part))
        if across:
            drawn[f"across_lambda{suffix}"] = across_lambda(across, settings, title)
    return drawn


def _suffix(words: Sequence[str], drawn: Collection[str]) -> str:
    """The words as the end of a file's name: short, plain, and of no figure yet. Repeated numbers are counted."""
    plain = []
    for word in words:
        name, _, values = word.partition("[")
        runs = [(value, len([*same])) for value, same in itertools.groupby(re.findall(r"[\w.+-]+", values))]
        listed = " ".join(f"{value}x{count}" if count > 1 else value for value, count in runs)
        plain.append(re.sub(r"[^\w.+-]+", "_", f"_{name} {listed}", flags=re.ASCII).rstrip("_"))
    suffix = "".join(plain)[:LONGEST_SUFFIX].rstrip("_")
    others = (f"{suffix}_{place}" for place in itertools.count(2))
    return next(name for name in (suffix, *itertools.islice(others, len(drawn))) if f"flow_fields{name}" not in drawn)


def _across(run: Run, rows: pd.DataFrame) -> dict[str, list[Example]]:
    """The examples of each penalty over λ, of its first seed; empty if no penalty has two λ."""
    rows = _with_examples(run, rows)
    found: dict[str, list[Example]] = {}
    for penalty in PENALTIES.in_order(rows["penalty"]):
        own = pick(rows, rows["penalty"] == penalty).sort_values(by=["lambda", "seed"]).drop_duplicates("lambda")
        trials = zip(own["lambda"], own["trial"], strict=True)
        found[penalty] = [Example(penalty, w, _read(run, str(t))) for w, t in trials]
    return found if max(map(len, found.values()), default=0) > 1 else {}


def _choose(run: Run, rows: pd.DataFrame) -> list[Example]:
    """One trial per penalty: at the middle λ that all penalties have, else at the middle one of each."""
    rows = _with_examples(run, rows)
    weights = {penalty: sorted(part["lambda"].unique()) for penalty, part in rows.groupby("penalty")}
    shared = sorted(set.intersection(*map(set, weights.values()))) if weights else []
    chosen = []
    for penalty in PENALTIES.in_order(map(str, weights)):
        among = shared or weights[penalty]
        weight = among[len(among) // 2]
        trials = pick(rows, (rows["penalty"] == penalty) & (rows["lambda"] == weight)).sort_values(by="seed")
        chosen.append(Example(penalty, weight, _read(run, str(trials["trial"].iloc[0]))))
    return chosen


def _of_baselines(run: Run, rows: pd.DataFrame) -> list[Example]:
    """The examples of every baseline but the images as they are; of several seeds the first."""
    still = [name for name, method in METHODS.items() if not method.registers]
    rows = _with_examples(run, pick(rows, ~rows["model"].isin(still)))
    lines = rows.sort_values("seed", kind="stable").drop_duplicates(configuration(rows)) if len(rows) else rows
    found = []
    for line in records(lines):
        name = "\n".join([METHODS.title(line["model"]), *variant(line, rows)])
        found.append(Example(name, 0.0, _read(run, str(line["trial"]))))
    return found


def _with_examples(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    there = [trial for trial in rows["trial"].unique() if examples_file(run.path, trial) is not None]
    return pick(rows, rows["trial"].isin(there))


def _read(run: Run, trial: str) -> Images:
    path = examples_file(run.path, trial)
    assert path is not None
    arrays = read_examples(path)
    return {name: a.astype(np.float32) if a.dtype == np.float16 else a for name, a in arrays.items()}


def flow_fields(examples: list[Example], settings: TrialSettings, title: str) -> Figure:
    """Displacement of the example pairs in voxels: a row per penalty or baseline, both components of each pair."""
    pairs = len(examples[0].arrays["fixed"])
    height, width = panels.panel(examples[0].arrays["fixed"][0])
    down = _downwards(settings)
    figure = new_figure(2 * pairs * width + 1.3, len(examples) * height + 1.1, "Flow fields")
    grid = figure.subplots(len(examples), 2 * pairs, squeeze=False)
    largest = max(float(np.abs(example.arrays["displacement"]).max()) for example in examples)
    limit = max(0.1, round(largest, 1))
    picture: Any = None
    for row, (line, example) in enumerate(zip(grid, examples, strict=True)):
        for column, axes in enumerate(line):
            pair, component = divmod(column, 2)
            shown = example.arrays["displacement"][pair, component]
            picture = panels.show(axes, shown, down, cmap="coolwarm", vmin=-limit, vmax=limit)
            if row == 0:
                axes.set_title(f"pair {pair + 1}\n{_component(component, settings)}", fontsize=8)
        line[0].set_ylabel(example.name)
    figure.colorbar(picture, ax=grid.ravel().tolist(), label="displacement (voxels)", shrink=0.8, aspect=30)
    caption(figure, f"{title}. {_pair_names(examples[0])}")
    return figure


def warped_grids(examples: list[Example], settings: TrialSettings, title: str) -> Figure:
    """A row per example pair: moving, fixed, and by each penalty and baseline the warped image with its warped grid."""
    first = examples[0].arrays
    pairs, (height, width) = len(first["fixed"]), panels.panel(first["fixed"][0], 2.1)
    down = _downwards(settings)
    figure = new_figure((2 + len(examples)) * width + 0.3, pairs * (height + 0.2) + 1.4, "Warped grids")
    grid = figure.subplots(pairs, 2 + len(examples), squeeze=False)
    for pair, line in enumerate(grid):
        top = panels.brightest(first["moving"][pair], first["fixed"][pair])
        for axes, name in zip(line, ("moving", "fixed"), strict=False):
            panels.show(axes, first[name][pair], down, vmin=0, vmax=top)
            axes.set_title(name if pair == 0 else "")
        line[0].set_ylabel(f"pair {pair + 1}")
        for axes, example in zip(line[2:], examples, strict=True):
            displacement = example.arrays["displacement"][pair]
            determinant = panels.determinant_of(displacement)
            panels.show(axes, example.arrays["warped"][pair], down, vmin=0, vmax=top)
            panels.draw_grid(axes, displacement, determinant)
            axes.set_xlabel(f"folded: {100 * (determinant <= 0).mean():.3g} %", fontsize=7.5)
            axes.set_title(example.name if pair == 0 else "")
    handles = [
        Line2D([], [], color=panels.GRID_COLOUR, linewidth=1, label="grid of the moving image, warped with it"),
        Line2D([], [], color=panels.FOLD_COLOUR, ls="", marker="s", markersize=4, label="Jacobian determinant ≤ 0"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
    plane = "Determinants within the slice shown. " if settings.cohort.spatial_dims == 3 else ""
    caption(figure, f"{title}. {plane}{_pair_names(examples[0])}")
    return figure


def across_lambda(examples: dict[str, list[Example]], settings: TrialSettings, title: str) -> Figure:
    """The first pair over λ: for each penalty the warped image with its grid, and below it the Jacobian determinant."""
    first = next(iter(examples.values()))[0].arrays
    weights = sorted({example.weight for own in examples.values() for example in own})
    aligned = len(weights) <= MANY_WEIGHTS  # otherwise each penalty has a row of its own λ
    columns = len(weights) if aligned else max(map(len, examples.values()))
    height, width = panels.panel(first["fixed"][0], 1.5)
    down = _downwards(settings)
    figure = new_figure(columns * width + 1.6, 2 * len(examples) * (height + 0.12) + 1.2, "One pair across λ")
    grid = figure.subplots(2 * len(examples), columns, squeeze=False)
    top = panels.brightest(first["fixed"][0])
    picture: Any = None
    for place, (penalty, own) in enumerate(examples.items()):
        rows = grid[2 * place : 2 * place + 2]
        places = [weights.index(example.weight) for example in own] if aligned else list(range(len(own)))
        for column in set(range(columns)) - set(places):
            for axes in rows[:, column]:
                axes.set_visible(False)
        for (above, below), example in zip(rows[:, places].T, own, strict=True):
            displacement = example.arrays["displacement"][0]
            determinant = panels.determinant_of(displacement)
            panels.show(above, example.arrays["warped"][0], down, vmin=0, vmax=top)
            panels.draw_grid(above, displacement, determinant)
            above.set_title(f"λ = {example.weight:g}", fontsize=8)
            picture = panels.draw_determinant(below, determinant, down)
        rows[0][places[0]].set_ylabel(f"{PENALTIES.title(penalty)}\nwarped, grid", color=colour_of(penalty))
        rows[1][places[0]].set_ylabel("determinant")
    panels.determinant_bar(figure, picture, grid.ravel().tolist(), shrink=0.6, aspect=30)
    moving, fixed = first["moving_id"][0], first["fixed_id"][0]
    caption(figure, f"{title}.", f"{moving} onto {fixed}. Folded voxels are marked in both rows.")
    return figure


def _downwards(settings: TrialSettings) -> bool:
    """The second axis points down in 2-D images, and in the volumes of which their reader says so."""
    return settings.cohort.spatial_dims == 2 or READERS[settings.cohort.reader].downwards


def _component(component: int, settings: TrialSettings) -> str:
    axis = (0, 2)[component] if settings.cohort.spatial_dims == 3 else component
    return f"{'xy'[component]} (axis {axis})"


def _pair_names(example: Example) -> str:
    ids = zip(example.arrays["moving_id"], example.arrays["fixed_id"], strict=True)
    return "Pairs, moving onto fixed:\n" + "\n".join(f"{place}: {a} onto {b}" for place, (a, b) in enumerate(ids, 1))
