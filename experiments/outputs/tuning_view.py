"""How a terminal shows the best λ of a network for somebody's own pairs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text

from ...pipeline.evaluation import METRICS, SDLOGJ
from ..rows.rounding import PERCENT, rounded, rounded_in, span
from ..rows.summaries import records
from ..study.screen import plain

if TYPE_CHECKING:
    from ..statistics import Limit
    from ..statistics.tuning import Tuned

FEW = 8
"""Up to this number of structures, their table is always shown."""
HOW = {
    "tested": "",
    "parabola": " λ is interpolated: the top of the parabola, in log λ, through the best tested λ and its neighbours.",
    "limit": " λ is interpolated: there the curve just meets the limit.",
}


def tuning_view(tuned: "Tuned", limit: "Limit | None", structures: bool = False) -> Stack:
    """The curve as a table, the recommendation in sentences, and the best λ of each structure.

    Args:
        tuned: what was found.
        limit: the limit that it was found within.
        structures: show each structure also if they are many.
    """
    shown: list[Table | Text] = [_curve(tuned), Text(), plain(" ".join(_sentences(tuned, limit)))]
    if len(tuned.structures) and (structures or len(tuned.structures) <= FEW):
        shown += [Text(), _structures(tuned)]
    elif len(tuned.structures):
        shown.append(plain(f"--per-structure shows the best λ of each of {len(tuned.structures)} structures."))
    return Stack(*shown)


def _curve(tuned: "Tuned") -> Table:
    accuracy = METRICS[tuned.found.metric]
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.caption = f"{PERCENT} intervals of {accuracy.title} below the means"
    table.add_column("penalty")
    for heading in ("λ", *(METRICS[name].narrow_column for name in (tuned.found.metric, *tuned.metrics))):
        table.add_column(heading, justify="right")
    for line in records(tuned.curve):
        mean = Text.assemble(rounded_in(line), (f"\n{span(line['low'], line['high'])}", "dim"))
        best = (line["penalty"], line["lambda"]) == (tuned.found.best["penalty"], tuned.found.best["lambda"])
        values = (f"{line[name]:{METRICS[name].form}}" for name in tuned.metrics)
        names = (plain(line["penalty"]), f"{line['lambda']:.3g}")
        table.add_row(*names, mean, *values, style="bold" if best else "")
    return table


def _sentences(tuned: "Tuned", limit: "Limit | None") -> Iterator[str]:
    best, accuracy = tuned.found.best, METRICS[tuned.found.metric]
    low, high = tuned.expected.low[0], tuned.expected.high[0]
    others = ", ".join(f"{METRICS[name].title} {_value(name, value)}" for name, value in tuned.others.items())
    found = f"{accuracy.title} {rounded(tuned.expected.estimate[0], low, high)} ({_interval(low, high)})"
    kept = (
        f", within the limit of {_value(limit.metric, limit.value)} on {METRICS[limit.metric].title}" if limit else ""
    )
    yield f"Use {best['penalty']} at λ = {tuned.weight:.3g}{kept}. Expected: {found}, {others}.{HOW[tuned.how]}"
    yield from _edge(tuned)
    yield "λ was chosen on these very pairs, so new pairs may do slightly worse."
    if tuned.alike is None:
        yield "There are too few subjects to tell how clear this is; give pairs of more subjects."
    elif tuned.alike[0] < tuned.alike[1]:
        low, high = tuned.alike
        yield (
            f"The tested λ from {low:.3g} to {high:.3g} are not clearly less accurate than the best one, by {PERCENT} "
            "intervals of the difference on the same pairs."
        )
    yield from _smoothest(tuned)
    if tuned.found.unclear is not None:
        yield (
            f"This is not clearly better than before registration ({accuracy.title} {tuned.found.unclear:.3g}): there "
            "may be too few pairs to tell, or the images are too unlike those that the network was trained on."
        )


def _edge(tuned: "Tuned") -> Iterator[str]:
    if tuned.edge:
        other = "lower" if tuned.edge == "lowest" else "higher"
        yield f"This is the {tuned.edge} λ that the network was trained for; a {other} one may be better."


def _smoothest(tuned: "Tuned") -> Iterator[str]:
    line, keys = tuned.smoothest, ["penalty", "lambda"]
    if line is not None and tuned.alike is not None:
        behind = rounded(line["behind"], line["behind_low"], line["behind_high"])
        ends = _interval(line["behind_low"], line["behind_high"])
        rough = tuned.curve.loc[(tuned.curve[keys] == line[keys]).all(axis=1), SDLOGJ].iloc[0]
        yield (
            f"The smoothest one that is not clearly less accurate is {line['penalty']} at λ = {line['lambda']:.3g}: "
            f"{METRICS[SDLOGJ].title} {_value(SDLOGJ, rough)}, and {METRICS[tuned.found.metric].title} worse by "
            f"{behind} ({ends})."
        )


def _interval(low: float, high: float) -> str:
    return f"{span(low, high)}, {PERCENT} interval over subjects" if low <= high else span(low, high)


def _value(metric: str, value: float) -> str:
    unit = METRICS[metric].unit
    return f"{value:.3g}{f' {unit}' if unit and not unit.startswith('a.u.') else ''}"


def _structures(tuned: "Tuned") -> Table:
    accuracy = METRICS[tuned.found.metric].title
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.caption = (
        f"best λ of {tuned.found.best['penalty']} for each structure; gain: over λ = {tuned.weight:.3g}, on the pairs "
        "that both were chosen on, so new pairs gain less"
    )
    for heading in ("structure", "pairs", "λ", accuracy, "gain"):
        table.add_column(heading, justify="left" if heading == "structure" else "right")
    for line in records(tuned.structures):
        mean = Text.assemble(rounded_in(line), (f"\n{span(line['low'], line['high'])}", "dim"))
        low, high = line["gain_low"], line["gain_high"]
        gain = Text.assemble(rounded(line["gain"], low, high), (f"\n{span(low, high)}", "dim"))
        table.add_row(plain(line["structure"]), str(line["pairs"]), f"{line['lambda']:.3g}", mean, gain)
    return table
