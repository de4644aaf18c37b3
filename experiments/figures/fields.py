"""Figures of example pairs: components of the displacement, and the warped image with its warped grid."""

import itertools
import re
import textwrap
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...networks import PENALTIES
from ...pipeline import TrialSettings
from ..rows.naming import variant
from ..rows.summaries import configuration, not_refined, penalized, pick
from ..store.run_folder import Run
from . import panels
from .examples import Example, arrays_of, downwards, examples_of_baselines, with_examples
from .kinds import KINDS, Drawn, FigureKind, Look, Material
from .style import caption, colour_of, new_figure

ROWS = 6
"""Rows of a figure of flow fields, at most."""
COLUMNS = 8
"""Images beside each other in a figure of warped grids, at most."""
MOST_PENALTIES = 6
"""Penalties in the figure of one pair across λ, at most."""
LONGEST_NAME = 18
"""Characters of a line of a label."""
MANY_WEIGHTS = 8
"""Up to this number of λ, each λ has a column of its own."""
LONGEST_SUFFIX = 60
"""Characters of the suffix by which files of one kind of figure differ."""


def field_figures(run: Run, rows: pd.DataFrame) -> dict[str, Figure]:
    """Figures by name: flow fields, warped grids and one pair across λ, for each model or further setting.

    Baselines appear in every figure of flow fields and warped grids; without penalties they have figures of their own.
    The examples of a refined network are those of the network alone.
    """
    rows = not_refined(rows)
    trained, without = penalized(rows), examples_of_baselines(run, rows)
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
        if 0 < len(across) <= MOST_PENALTIES:  # the report shows the pair at every λ of more penalties, too
            drawn[f"across_lambda{suffix}"] = across_lambda(across, settings, title)
    return drawn


def _suffix(words: Sequence[str], drawn: Collection[str]) -> str:
    """The words as a short suffix of a file name that no drawn figure has. Repeated numbers become NUMBERxCOUNT."""
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
    """The examples of each penalty over λ, from the first seed; empty if no penalty has two λ."""
    rows = with_examples(run, rows)
    found: dict[str, list[Example]] = {}
    for penalty in PENALTIES.in_order(rows["penalty"]):
        own = pick(rows, rows["penalty"] == penalty).sort_values(by=["lambda", "seed"]).drop_duplicates("lambda")
        trials = zip(own["lambda"], own["trial"], strict=True)
        found[penalty] = [Example(penalty, w, arrays_of(run, str(t))) for w, t in trials]
    return found if max(map(len, found.values()), default=0) > 1 else {}


def _choose(run: Run, rows: pd.DataFrame) -> list[Example]:
    """One trial per penalty: at the middle of the common λ; without a common λ, at the middle λ of each penalty."""
    rows = with_examples(run, rows)
    weights = {penalty: sorted(part["lambda"].unique()) for penalty, part in rows.groupby("penalty")}
    shared = sorted(set.intersection(*map(set, weights.values()))) if weights else []
    chosen = []
    for penalty in PENALTIES.in_order(map(str, weights)):
        among = shared or weights[penalty]
        weight = among[len(among) // 2]
        trials = pick(rows, (rows["penalty"] == penalty) & (rows["lambda"] == weight)).sort_values(by="seed")
        chosen.append(Example(penalty, weight, arrays_of(run, str(trials["trial"].iloc[0]))))
    return chosen


def flow_fields(examples: list[Example], settings: TrialSettings, title: str) -> Figure:
    """Displacement of the example pairs in voxels: one row per penalty or baseline, two components per pair.

    Many examples stand in several blocks beside each other, with the first pair alone.
    """
    blocks = -(-len(examples) // ROWS)
    rows, pairs = -(-len(examples) // blocks), _pairs_of_all(examples) if blocks == 1 else 1
    height, width = panels.panel(examples[0].arrays["fixed"][0])
    down = downwards(settings)
    figure = new_figure(blocks * (2 * pairs * width + 0.6) + 0.7, rows * height + 1.1, "Flow fields")
    whole = figure.subplots(rows, 2 * pairs * blocks, squeeze=False)
    grid = np.concatenate(np.split(whole, blocks, axis=1))  # one block below the other
    for axes in grid[len(examples) :].ravel():
        axes.set_visible(False)
    largest = max(float(np.abs(example.arrays["displacement"]).max()) for example in examples)
    limit = max(0.1, round(largest, 1))
    picture: Any = None
    for row, (line, example) in enumerate(zip(grid, examples, strict=False)):
        for column, axes in enumerate(line):
            pair, component = divmod(column, 2)
            shown = example.arrays["displacement"][pair, component]
            picture = panels.show(axes, shown, down, cmap="coolwarm", vmin=-limit, vmax=limit)
            if row % rows == 0:
                axes.set_title(f"pair {pair + 1}\n{_component(component, settings)}", fontsize=8)
        line[0].set_ylabel(_wrapped(example.name))
    figure.colorbar(picture, ax=whole.ravel().tolist(), label="displacement (voxels)", shrink=0.8, aspect=30)
    caption(figure, f"{title}. {_pair_names(examples[0], pairs)}")
    return figure


def _pairs_of_all(examples: list[Example]) -> int:
    """How many pairs all examples have; archived trials keep fewer."""
    return min(len(example.arrays["fixed"]) for example in examples)


def warped_grids(examples: list[Example], settings: TrialSettings, title: str) -> Figure:
    """One row per example pair: moving, fixed, and for each penalty and baseline the warped image with its grid.

    With many examples, the first pair alone, in several rows.
    """
    first = examples[0].arrays
    count, (height, width) = 2 + len(examples), panels.panel(first["fixed"][0], 2.1)
    lines = -(-count // COLUMNS)  # of each pair
    columns, pairs = -(-count // lines), _pairs_of_all(examples) if lines == 1 else 1
    gap = 0.2 if lines == 1 else 0.45  # for the names above each line
    down = downwards(settings)
    figure = new_figure(columns * width + 0.3, pairs * lines * (height + gap) + 1.4, "Warped grids")
    grid = figure.subplots(pairs * lines, columns, squeeze=False).reshape(pairs, -1)
    for axes in grid[:, count:].ravel():
        axes.set_visible(False)
    for pair, line in enumerate(grid[:, :count]):
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
        Line2D([], [], color=panels.GRID_COLOUR, linewidth=1, label="warped grid of the moving image"),
        Line2D([], [], color=panels.FOLD_COLOUR, ls="", marker="s", markersize=4, label="Jacobian determinant ≤ 0"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
    plane = "Determinants are computed in the plane of the slice. " if settings.cohort.spatial_dims == 3 else ""
    caption(figure, f"{title}. {plane}{_pair_names(examples[0], pairs)}")
    return figure


def across_lambda(examples: dict[str, list[Example]], settings: TrialSettings, title: str) -> Figure:
    """The first pair over λ: for each penalty the warped image with its grid, above its Jacobian determinant."""
    first = next(iter(examples.values()))[0].arrays
    weights = sorted({example.weight for own in examples.values() for example in own})
    aligned = len(weights) <= MANY_WEIGHTS  # otherwise each penalty has a row of its own λ
    columns = len(weights) if aligned else max(map(len, examples.values()))
    height, width = panels.panel(first["fixed"][0], 1.5)
    down = downwards(settings)
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
        name = _wrapped(f"{PENALTIES.title(penalty)}\nwarped, grid")
        rows[0][places[0]].set_ylabel(name, color=colour_of(penalty))
        rows[1][places[0]].set_ylabel("determinant")
    shrink = min(0.6, 2 / len(examples))
    panels.determinant_bar(figure, picture, grid.ravel().tolist(), shrink=shrink, aspect=30, anchor=(0.0, 1.0))
    moving, fixed = first["moving_id"][0], first["fixed_id"][0]
    caption(figure, f"{title}.", f"{moving} onto {fixed}. Folded voxels are marked in both rows.")
    return figure


def _wrapped(name: str) -> str:
    """The lines of a label, each broken where it is long."""
    return "\n".join(part for line in name.split("\n") for part in textwrap.wrap(line, LONGEST_NAME))


def _component(component: int, settings: TrialSettings) -> str:
    axis = (0, 2)[component] if settings.cohort.spatial_dims == 3 else component
    return f"{'xy'[component]} (axis {axis})"


def _pair_names(example: Example, count: int | None = None) -> str:
    ids = zip(example.arrays["moving_id"][:count], example.arrays["fixed_id"][:count], strict=True)
    return "Pairs, moving onto fixed:\n" + "\n".join(f"{place}: {a} onto {b}" for place, (a, b) in enumerate(ids, 1))


def _drawn(material: Material) -> Drawn:
    yield from field_figures(material.run, material.rows).items()


def _looks() -> dict[str, Look]:
    return {
        "flow_fields": Look(
            "Flow fields", "The two components of the displacement on example test pairs; one trial per penalty."
        ),
        "warped_grids": Look(
            "Warped grids",
            "The moving image and its grid, warped onto the fixed image, on example test pairs. Folding is red.",
        ),
        "across_lambda": Look(
            "One pair across λ",
            "λ grows from left to right, and the deformation gets smoother. Below each image is its Jacobian "
            "determinant.",
        ),
    }


# last, because a damaged file of example pairs stops it
KINDS.append(FigureKind(place=80, draw=_drawn, looks=_looks))
