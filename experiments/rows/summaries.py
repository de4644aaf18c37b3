"""Summaries of rows over pairs and seeds. Percentages are in percent (0..100)."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from ...networks import PENALTIES, SIMILARITIES
from ...pipeline.evaluation import DICE, METRICS, REFINED
from ...pipeline.settings.vocabulary import METHODS, without_objective
from ..study.setting_keys import known_keys

METHOD = "method"
WAYS = (METHOD, REFINED)
"""What tells apart the ways by which a field was found under one objective; figures draw them as lines of one panel."""
SETTINGS = ("penalty", "lambda", "model", *WAYS, "similarity", "acts_on", "multiplier")
CONDITION = "objective.condition."
CONDITIONAL, SEPARATE = f"{CONDITION}penalties", "none"
"""The column of a conditional network's penalties, and its value for networks for one λ."""


def configuration(rows: pd.DataFrame) -> list[str]:
    """The columns that define a configuration: penalty, lambda, model and every other setting that differs.

    The seed is not among them. A setting must differ among networks, or among baselines: if it differs only between
    the two, the model says it already.
    """
    others = [*(key for key in SETTINGS[3:] if key in rows), *(k for k in known_keys() if k != "seed" and k in rows)]
    parts = penalized(rows), baselines(rows)
    return [*SETTINGS[:3], *(n for n in others if any(part[n].nunique(dropna=False) > 1 for part in parts))]


def penalized(frame: pd.DataFrame) -> pd.DataFrame:
    """The lines with a penalty and λ, from rows or any table with a column ``model``: networks and optimization."""
    return pick(frame, ~frame["model"].isin(without_objective()))


def baselines(frame: pd.DataFrame) -> pd.DataFrame:
    """The lines of baselines: methods without an objective."""
    return pick(frame, frame["model"].isin(without_objective()))


def trained_methods(frame: pd.DataFrame | None = None) -> list[str]:
    """The methods that train a network; with rows, only those in them. Rows without a method are of networks."""
    known = [name for name, method in METHODS.items() if method.trains]
    if frame is None or METHOD not in frame:
        return known
    there = set(penalized(frame)[METHOD])
    return [name for name in known if name in there]


def of_network(line: Any) -> bool:
    """Whether a line with a penalty, or the columns of its setting, is of a network."""
    return METHOD not in line or METHODS[line[METHOD]].is_network


def of_training(line: Any) -> bool:
    """Whether a line with a penalty is of a network that its own trial trained."""
    return METHOD not in line or METHODS[line[METHOD]].trains


def minimized_similarities(rows: pd.DataFrame) -> set[str]:
    """The similarities in the objectives; a sum counts as its terms."""
    named = penalized(rows)["similarity"].dropna().unique()
    return {term.name for name in named if name in SIMILARITIES for term in SIMILARITIES.terms(name)}


def main_metrics(rows: pd.DataFrame) -> list[str]:
    """The metrics of short tables, in order. Of the similarities, these are the main one and those minimized."""
    minimized = {*minimized_similarities(rows), *METRICS.of_role("similarity")[:1]}
    return [name for name, m in METRICS.items() if m.main and (m.role != "similarity" or name in minimized)]


def as_shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with empty cells for the penalty and the λ of baselines, which have none."""
    if not {"penalty", "lambda"} <= set(frame):
        return frame
    trained = frame["penalty"] != "none"
    return frame.assign(**{key: frame[key].where(trained) for key in ("penalty", "lambda")})


def way_keys(frame: pd.DataFrame, keys: Iterable[str]) -> list[str]:
    """The ``keys`` that tell apart how fields were found under one objective.

    These are ``WAYS``, the condition of a conditional network, and settings that a method in the table lacks:
    optimization has no backbone and no epochs, so these do not set a network's objective apart from its own. Beside
    conditional networks, the trainings of separate ones are another way, too.
    """
    own = penalized(frame)
    methods = [part for _, part in own.groupby(METHOD)] if METHOD in own else [own]
    lacking = [key for key in keys if len(methods) > 1 and any(part[key].isna().all() for part in methods)]
    networks = set(own[CONDITIONAL].dropna()) if CONDITIONAL in own else set()
    sections = (CONDITION, "training.") if SEPARATE in networks and len(networks) > 1 else (CONDITION,)
    return [key for key in keys if key in WAYS or key in lacking or key.startswith(sections)]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per configuration and metric: mean and standard deviations over pairs and over seeds.

    ``mean``: the mean over pairs, then over seeds. ``std_pairs``: the sample standard deviation over pairs (root mean
    square over seeds). ``std_seeds``: the sample standard deviation over the means of the seeds, empty for one seed.
    ``before``: the mean before registration, if the metric has one. ``n_pairs``: measured pairs per seed.
    """
    keys = configuration(rows)
    listed = [name for name, metric in METRICS.items() if metric.listed and name in rows]
    parts = [summarize(rows, keys, metric, f"{metric}_before") for metric in listed]
    table = pd.concat(parts, ignore_index=True)
    table.insert(len(keys) + 1, "unit", table["metric"].map({name: METRICS[name].unit for name in listed}))
    return table


def per_label(rows: pd.DataFrame) -> pd.DataFrame:
    """Dice of each structure, with the columns of `summary`; empty without labels."""
    keys, start = configuration(rows), f"{DICE}/"
    labels = [name.removeprefix(start) for name in map(str, rows) if name.startswith(start)]
    parts = [summarize(rows, keys, f"{start}{label}", f"{DICE}_before/{label}") for label in labels]
    if not parts:
        return pd.DataFrame()
    table = pd.concat(parts, ignore_index=True).rename(columns={"metric": "label"})
    table["label"] = table["label"].str.removeprefix(start)
    return table


def summarize(rows: pd.DataFrame, keys: list[str], metric: str, before: str) -> pd.DataFrame:
    """`summary` of one metric; ``before``: the column with its values before registration."""
    seeds = rows.groupby([*keys, "seed"], dropna=False)[metric].agg(["mean", "var", "count"]).reset_index()
    groups: Any = seeds.groupby(keys, dropna=False)
    table = pd.DataFrame(
        {
            "metric": metric,
            "mean": groups["mean"].mean(),
            "std_pairs": groups["var"].mean().pow(0.5),
            "std_seeds": groups["mean"].std(),
            "before": rows.groupby(keys, dropna=False)[before].mean() if before in rows else np.nan,
            "n_pairs": groups["count"].max(),
            "n_seeds": groups["seed"].nunique(),
        }
    ).reset_index()
    return table.sort_values(
        keys, key=lambda column: column.map(PENALTIES.place) if column.name == "penalty" else column
    )


def pick(frame: pd.DataFrame, mask: Any) -> pd.DataFrame:
    """The lines where ``mask`` is true, typed for the type checker."""
    return cast(pd.DataFrame, frame.loc[mask])


def is_set(frame: pd.DataFrame, settings: Mapping[Any, Any]) -> pd.Series:
    """Which lines have these values; an empty cell, of a setting that a method does not have, equals an empty one."""
    same = [frame[key].isna() if pd.isna(value) else frame[key] == value for key, value in settings.items()]
    return cast(pd.Series, pd.concat(same, axis=1).all(axis=1))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines as dictionaries, typed for the type checker."""
    return cast(list[dict[str, Any]], frame.to_dict("records"))


def setting_columns(whole: pd.DataFrame) -> list[str]:
    """The columns of a summary that define a configuration: those before ``metric``."""
    columns = list(whole.columns)
    return columns[: columns.index("metric")]


def counts(whole: pd.DataFrame) -> str:
    """The number of pairs and seeds behind a summary, in words."""
    measured = whole[whole["metric"] == whole["metric"].iloc[0]]
    return f"{number(measured['n_pairs'], 'test pair')}, {number(measured['n_seeds'], 'seed')} per point"


def number(values: Any, noun: str) -> str:
    """``3 seeds``, or ``1 to 3 seeds`` if the values differ."""
    low, high = int(values.min()), int(values.max())
    return f"{high} {noun}{'' if high == 1 else 's'}" if low == high else f"{low} to {high} {noun}s"


def not_refined(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of networks alone, without those of the same networks with refinement."""
    return pick(rows, rows[REFINED] == 0).drop(columns=REFINED) if REFINED in rows else rows
