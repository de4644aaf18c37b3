"""Views for a terminal: a summary, a recommendation, the states of the trials."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text

from ...pipeline.evaluation import METRICS, SECONDS, VELOCITY_FOLDING
from ...pipeline.settings.vocabulary import METHODS
from ..rows.naming import named_settings, telling
from ..rows.rounding import PERCENT, rounded, rounded_in, span, with_interval
from ..rows.summaries import METHOD, as_shown, baselines, counts, of_training, records, setting_columns
from ..store.run_folder import Run, TrialState
from ..study.screen import plain

if TYPE_CHECKING:
    from ..statistics import Limit, Recommendation


def summary_table(whole: pd.DataFrame, title: str, similarity: str | None = None) -> Table:
    """One line per configuration: mean and, below it, the standard deviation over pairs. It fits 80 columns.

    Only one similarity is shown, by default the first. If there are baselines, which have no velocity, the table shows
    seconds in place of the folding of the velocity.
    """
    keys = setting_columns(whole)
    similar = METRICS.of_role("similarity")
    left_out = {VELOCITY_FOLDING if not baselines(whole).empty else SECONDS, *similar} - {similarity or similar[0]}
    there = set(whole["metric"]) - left_out
    metrics = [name for name, metric in METRICS.items() if metric.main and not metric.slow and name in there]
    note = f"mean ± standard deviation over pairs; {counts(whole)}"
    table = Table(title=plain(title, "bold"), caption=note, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    shown_keys = [key for key in keys if key != "model" or whole[key].nunique() > 1]
    for key in shown_keys:
        table.add_column({"lambda": "λ"}.get(key, key.rsplit(".", 1)[-1]), overflow="fold")
    for metric in metrics:
        table.add_column(METRICS[metric].narrow_column, justify="right", no_wrap=True)
    before = {metric: float(whole.loc[whole["metric"] == metric, "before"].mean()) for metric in metrics}
    cells = [f"{value:{METRICS[metric].form}}" if np.isfinite(value) else "" for metric, value in before.items()]
    table.add_row("before", *[""] * (len(shown_keys) - 1), *cells, style="dim", end_section=True)
    for _, line in whole.groupby(keys, dropna=False, sort=False):
        values = as_shown(line)[shown_keys].to_numpy(dtype=object)[0]
        names = ["" if pd.isna(v) else f"{v:g}" if isinstance(v, float) else plain(v) for v in values]
        table.add_row(*names, *(_cell(line, metric) for metric in metrics))
    return table


def _cell(line: pd.DataFrame, metric: str) -> Text:
    own = line.loc[line["metric"] == metric]
    if own.empty or not np.isfinite(mean := float(own["mean"].iloc[0])):
        return Text("")
    spread, form = float(own["std_pairs"].iloc[0]), METRICS[metric].form
    return Text.assemble(f"{mean:{form}}", (f"\n±{spread:{form}}", "dim") if np.isfinite(spread) else "")


def recommendation_view(found: "Recommendation", limit: "Limit", every_weight: bool = False) -> Stack:
    """A sentence with the recommended configuration, and a table of all configurations, best first.

    Args:
        found: the recommendation.
        limit: its limit.
        every_weight: whether the recommended network takes every λ, also one that was not tested.
    """
    best, limited, accuracy = found.best, METRICS[limit.metric], METRICS[found.metric]
    wanted, name = limited.short_column, accuracy.title
    unit = f" {limited.unit}" if limited.unit else ""
    alone = of_training(best) and best["n_seeds"] < 2
    seeds = " One seed only: the spread between trainings is unknown." if alone else ""
    over = (
        f", {PERCENT} interval over subjects{' and seeds' if best['n_seeds'] > 1 else ''}"
        if best["low"] <= best["high"]
        else ""
    )
    keys = list(found.table.columns[: list(found.table.columns).index("mean")])
    others = telling(found.table, [key for key in keys if key not in ("penalty", "lambda", "model")])
    sentence = (
        f"Use {_configuration(best, others)}: a mean {limited.title} of {best['roughness']:.3g}{unit} "
        f"(limit {limit.value:g}{unit}) and {name} {with_interval(best).removesuffix(')')}{over}).{seeds}"
    )
    if found.between is not None:
        weight, value = found.between
        expected = rounded(value, best["low"], best["high"])
        sentence += f" Interpolated: λ = {weight:.2g} would just meet the limit, with an expected {name} of {expected}."
        if every_weight:
            sentence += " The network takes every λ: this one can be used as it is, without another training."
    if found.unclear is not None:
        why = (
            "more steps or another learning rate may help"
            if of_training(best)
            else "there may be too few pairs to tell"
        )
        sentence += f" This is not clearly better than before registration ({name} {found.unclear:.3g}); {why}."
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    keys = ["penalty", "lambda", "model", *others]
    for key in (*keys, name, wanted, "within"):
        table.add_column({"lambda": "λ"}.get(key, key.rsplit(".", 1)[-1]), overflow="fold")
    table.caption = f"{PERCENT} intervals below the means"
    for line in records(found.table):
        values = ["" if pd.isna(line[key]) else line[key] for key in keys]
        names = [f"{value:g}" if isinstance(value, float) else plain(value) for value in values]
        accuracy = Text.assemble(rounded_in(line), (f"\n{span(line['low'], line['high'])}", "dim"))
        # three digits: the mean is compared with the limit
        low, high = line["roughness_low"], line["roughness_high"]
        ends = f"\n{low:.3g} to {high:.3g}" if low <= high else ""
        roughness = Text.assemble(f"{line['roughness']:.3g}", (ends, "dim"))
        style = "" if line["within"] else "dim"
        table.add_row(*names, accuracy, roughness, "yes" if line["within"] else "no", style=style)
    return Stack(plain(sentence), table)


def _configuration(line: pd.Series, others: Sequence[str]) -> str:
    more = "".join(f", {words}" for words in named_settings(line, others))
    if METHOD not in others and not of_training(line):
        more += f", by {METHODS[line[METHOD]].title}"
    return f"{line['penalty']} at λ = {line['lambda']:g} with the {line['model']} model{more}"


def status_table(run: Run, found: Mapping[str, TrialState], going_on: bool) -> Table:
    """One line per trial: its state, the epochs done, and what went wrong."""
    table = Table(title=plain(f"{run.study.title} · {run.path}{' · running now' if going_on else ''}"))
    for heading in ("trial", "state", "epoch", "note"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "epoch" else "left")
    styles = {"complete": "green", "running": "cyan", "partial": "yellow", "failed": "red", "damaged": "red"}
    for trial, state in found.items():
        trained = run.trials[trial].model.trains
        epochs = f"{state.epochs} of {run.trials[trial].training.epochs}" if trained else ""
        table.add_row(plain(trial), Text(state.state, styles.get(state.state, "dim")), epochs, plain(state.reason))
    return table
