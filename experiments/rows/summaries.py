"""Rows summarized over pairs and seeds. Percent means percent (0..100)."""

from typing import Any, cast

import numpy as np
import pandas as pd

from ...networks import PENALTIES
from ...pipeline.evaluation import DICE, METRICS, REFINED
from ...pipeline.settings.vocabulary import METHODS, without_objective
from ..study.setting_keys import known_keys

METHOD = "method"
WAYS = (METHOD, REFINED)
"""What tells apart the ways by which a field was found under one objective; figures draw them as lines of one panel."""
SETTINGS = ("penalty", "lambda", "model", *WAYS, "similarity", "acts_on", "multiplier")


def configuration(rows: pd.DataFrame) -> list[str]:
    """The columns that tell configurations apart: penalty, lambda, model and whatever else differs except the seed.

    What differs only between networks and baselines, as what a baseline has not, tells nothing that the model does not.
    """
    others = [*(key for key in SETTINGS[3:] if key in rows), *(k for k in known_keys() if k != "seed" and k in rows)]
    parts = penalized(rows), baselines(rows)
    return [*SETTINGS[:3], *(n for n in others if any(part[n].nunique(dropna=False) > 1 for part in parts))]


def penalized(frame: pd.DataFrame) -> pd.DataFrame:
    """The lines that have a penalty and λ, networks' and optimization's, of rows or of any table with a ``model``."""
    return pick(frame, ~frame["model"].isin(without_objective()))


def baselines(frame: pd.DataFrame) -> pd.DataFrame:
    """The lines of methods without an objective."""
    return pick(frame, frame["model"].isin(without_objective()))


def trained_methods(frame: pd.DataFrame | None = None) -> list[str]:
    """The methods that train a network, or those of them that rows have; rows without a method are of networks."""
    known = [name for name, method in METHODS.items() if method.trains]
    if frame is None or METHOD not in frame:
        return known
    there = set(penalized(frame)[METHOD])
    return [name for name in known if name in there]


def as_shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The settings of a table for a reader: where a baseline has no penalty and no λ, there is nothing."""
    if not {"penalty", "lambda"} <= set(frame):
        return frame
    trained = frame["penalty"] != "none"
    return frame.assign(**{key: frame[key].where(trained) for key in ("penalty", "lambda")})


def variant(line: Any, frame: pd.DataFrame) -> list[str]:
    """What sets a configuration apart besides penalty and λ (or method), in words; ``frame``: rows or a summary."""
    has_penalty = line["model"] not in without_objective()
    own = penalized(frame) if has_penalty else pick(frame, frame["model"] == line["model"])
    keys = (setting_columns(frame) if "metric" in frame else configuration(frame))[2 if has_penalty else 3 :]
    return [setting_name(key, line[key]) for key in keys if own[key].nunique(dropna=False) > 1]


def setting_name(key: str, value: Any) -> str:
    """A setting in words, as a label of a curve: ``diffeomorphic model``, ``optimization``, ``integration steps 7``."""
    if key == "model":
        return f"{value} model"
    if key == METHOD:
        return METHODS.title(value)
    if key == REFINED:
        return f"{value:g} steps of refinement" if value else "not refined"
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{key.rsplit('.', 1)[-1].replace('_', ' ')} {shown}"


def configuration_name(line: Any, frame: pd.DataFrame) -> str:
    """A configuration in words: ``L2, λ 0.1`` or ``SyN``, and what else sets it apart."""
    objective = [PENALTIES.title(line["penalty"]), f"λ {line['lambda']:g}"]
    name = [METHODS.title(line["model"])] if line["model"] in without_objective() else objective
    return ", ".join([*name, *variant(line, frame)])


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per configuration and metric: mean and standard deviations over pairs and over seeds.

    ``mean``: of the seeds' means over pairs. ``std_pairs``: the spread between pairs (root mean square over seeds of
    the sample standard deviation). ``std_seeds``: the sample standard deviation of the seeds' means, empty for one
    seed. ``before``: the mean before registration, where that exists. ``n_pairs``: measured pairs per seed.
    """
    keys = configuration(rows)
    listed = [name for name, metric in METRICS.items() if metric.listed and name in rows]
    parts = [summarize(rows, keys, metric, f"{metric}_before") for metric in listed]
    table = pd.concat(parts, ignore_index=True)
    table.insert(len(keys) + 1, "unit", table["metric"].map({name: METRICS[name].unit for name in listed}))
    return table


def per_label(rows: pd.DataFrame) -> pd.DataFrame:
    """Dice of each structure, in the form of `summary`; empty without labels."""
    keys, start = configuration(rows), f"{DICE}/"
    labels = [name.removeprefix(start) for name in map(str, rows) if name.startswith(start)]
    parts = [summarize(rows, keys, f"{start}{label}", f"{DICE}_before/{label}") for label in labels]
    if not parts:
        return pd.DataFrame()
    table = pd.concat(parts, ignore_index=True).rename(columns={"metric": "label"})
    table["label"] = table["label"].str.removeprefix(start)
    return table


def summarize(rows: pd.DataFrame, keys: list[str], metric: str, before: str) -> pd.DataFrame:
    """`summary` of one column."""
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
    """The lines where ``mask`` holds (as a type checker can follow)."""
    return cast(pd.DataFrame, frame.loc[mask])


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines as dictionaries (as a type checker can follow)."""
    return cast(list[dict[str, Any]], frame.to_dict("records"))


def setting_columns(whole: pd.DataFrame) -> list[str]:
    """The columns of a summary that name a configuration: those before ``metric``."""
    columns = list(whole.columns)
    return columns[: columns.index("metric")]


def counts(whole: pd.DataFrame) -> str:
    """How many pairs and seeds the numbers of a summary stand on, in words."""
    measured = whole[whole["metric"] == whole["metric"].iloc[0]]
    return f"{number(measured['n_pairs'], 'test pair')}, {number(measured['n_seeds'], 'seed')} per point"


def number(values: Any, noun: str) -> str:
    """``3 seeds``, or ``1 to 3 seeds`` where they differ."""
    low, high = int(values.min()), int(values.max())
    return f"{high} {noun}{'' if high == 1 else 's'}" if low == high else f"{low} to {high} {noun}s"
