"""The names of columns, values and metrics in the report, and the definitions of the metrics."""

from collections.abc import Iterable
from typing import Any

from ...networks import PENALTIES
from ...pipeline.evaluation import METRICS
from ...pipeline.settings.vocabulary import METHODS
from ..rows.rounding import PERCENT
from ..study.setting_keys import known_keys

HEADINGS = {
    "lambda": "λ",
    "std_pairs": "SD over pairs",
    "std_seeds": "SD over seeds",
    "before": "before registration",
    "n_pairs": "test pairs",
    "n_seeds": "seeds",
    "low": f"{PERCENT} from",
    "high": f"{PERCENT} to",
    "auc_arc": "AUC-ARC",
    "difference_low": f"difference, {PERCENT} from",
    "difference_high": f"difference, {PERCENT} to",
    "effect_low": f"effect, {PERCENT} from",
    "effect_high": f"effect, {PERCENT} to",
    "p_holm": "p, Holm",
    "matched_in": "at equal",
    "at": "value",
    "on_front": "on the front",
    **{f"sd_{part}": f"SD of {part}" for part in ("pairs", "subjects", "seeds")},
    "sd_residual": "SD, residual",
    "label": "structure",
    "integration_steps": "integration steps",
}
OWNERS = {"published_": "published", "our_": "ours"}
"""Prefixes of columns in the table of published numbers."""


def heading(column: str) -> str:
    """A column's name in plain words: ``displacement_nonpositive_percent`` is ``folding, displacement (%)``."""
    if column in METRICS:
        return METRICS[column].column
    if column in HEADINGS:
        return HEADINGS[column]
    leaf = column.rsplit(".", 1)[-1] if column in known_keys() else column
    for start, whose in OWNERS.items():
        if leaf.startswith(start):
            return f"{heading(leaf.removeprefix(start))}, {whose}"
    if leaf.endswith("_before"):
        return f"{heading(leaf.removesuffix('_before'))}, before"
    return HEADINGS.get(leaf, leaf.replace("_percent", " (%)").replace("_", " "))


def value_name(value: Any) -> str:
    """A value of a table in plain words: penalties, similarities and metrics by their titles."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    word = str(value)
    if word in PENALTIES:
        return PENALTIES.title(word)
    if word in METRICS or word in HEADINGS:
        return heading(word)
    return METHODS.title(word) if word in METHODS and not METHODS[word].trains else word


def definitions(metrics: Iterable[str], penalties: Iterable[str], methods: Iterable[str]) -> list[tuple[str, str]]:
    """The terms of a run and their meanings: λ, its penalties, methods without training and metrics."""
    tools = [METHODS[name] for name in METHODS.in_order(methods) if name in METHODS and not METHODS[name].trains]
    known = [PENALTIES[name] for name in PENALTIES.in_order(penalties) if name in PENALTIES]
    return [
        ("λ", "weight of the penalty in similarity loss + λ · penalty; a larger λ gives a smoother field"),
        *((f"penalty {entry.title}", entry.definition) for entry in known),
        *((entry.title, entry.definition) for entry in tools),
        ("displacement", "the field u that warps the image: warped(x) = moving(x + u(x)), in voxels"),
        (
            "velocity",
            "the field that the diffeomorphic model integrates to the displacement, often at half resolution; the "
            "published study measured folding on the velocity",
        ),
        *((METRICS[metric].column, METRICS[metric].definition) for metric in metrics),
        ("SD", "standard deviation, over the test pairs of one training or over the means of several seeds"),
    ]
