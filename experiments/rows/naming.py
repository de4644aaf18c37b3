"""Names of configurations in words: what tells each from the others, and no more."""

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from ...networks import BACKBONES, PENALTIES, SIMILARITIES
from ...pipeline.evaluation import REFINED
from ...pipeline.settings.vocabulary import METHODS, without_objective
from .summaries import (
    CONDITION,
    CONDITIONAL,
    METHOD,
    SEPARATE,
    WAYS,
    configuration,
    of_network,
    penalized,
    pick,
    setting_columns,
)

BACKBONE = "model.backbone"
MOST_TELLING = ("model", *WAYS, BACKBONE)
"""Settings that name a configuration before others do."""
LONGEST = 3
"""Names of more settings leave out the usual ones."""
USUAL = "usual settings"


def variant(line: Any, frame: pd.DataFrame) -> list[str]:
    """Where a configuration differs from others besides penalty and λ (or method), in words.

    ``frame``: rows or a summary.
    """
    has_penalty = line["model"] not in without_objective()
    own = penalized(frame) if has_penalty else pick(frame, frame["model"] == line["model"])
    keys = (setting_columns(frame) if "metric" in frame else configuration(frame))[2 if has_penalty else 3 :]
    return namer(own, keys)(line)


def namer(frame: pd.DataFrame, keys: Iterable[str]) -> Callable[[Any], list[str]]:
    """A function that names a line by those of its settings that tell it from the other lines of ``frame``.

    Where each name would have more than `LONGEST` settings, only the unusual ones are named: a study that leaves out
    one part at a time names this part.
    """
    found = telling(frame, keys)
    common = usual(frame, found) if len(found) > LONGEST else {}

    def name(line: Any) -> list[str]:
        rare = [key for key in found if key not in common or line[key] != common[key]]
        return named_settings(line, rare) or ([USUAL] if common else [])

    return name


def usual(frame: pd.DataFrame, keys: Iterable[str]) -> dict[str, Any]:
    """The value that more than half of the settings have, for each of the ``keys`` that has one.

    A key that some method lacks has none.
    """
    lines = frame[list(keys)].drop_duplicates()
    counts = {key: lines[key].value_counts() for key in lines if lines[key].notna().all()}
    return {key: own.index[0] for key, own in counts.items() if 2 * own.iloc[0] > len(lines)}


def telling(frame: pd.DataFrame, keys: Iterable[str]) -> list[str]:
    """Few of the ``keys`` that tell apart all lines that ``keys`` tell apart; ``MOST_TELLING`` ones are tried first.

    Names become short: if a network has another backbone and other epochs, the backbone is enough.
    """
    keys, found, apart = list(keys), [], 1
    lines = frame[keys].drop_duplicates()
    for key in sorted(keys, key=lambda key: key not in MOST_TELLING):
        finer = len(lines[[*found, key]].drop_duplicates())
        if finer > apart:
            found, apart = [*found, key], finer
    return [key for key in keys if key in found]


def named_settings(line: Any, keys: Iterable[str]) -> list[str]:
    """The settings of a line in words, without those that its method does not have; refinement comes last.

    A trained network with the name of its backbone needs no name of its method. A network for one λ has no condition.
    """
    there = sorted((k for k in keys if not pd.isna(line[k])), key=lambda key: key == REFINED)
    if CONDITIONAL in there and line[CONDITIONAL] == SEPARATE:
        there = [key for key in there if key == CONDITIONAL or not key.startswith(CONDITION)]
    if REFINED in there and not of_network(line):
        there.remove(REFINED)
    if METHOD in there and BACKBONE in there and METHODS[line[METHOD]].trains:
        there.remove(METHOD)
    return [setting_name(key, line[key]) for key in there]


def setting_name(key: str, value: Any) -> str:
    """A setting in words, for labels: ``diffeomorphic model``, ``optimization``, ``integration steps 7``."""
    if key == "model":
        return f"{value} model"
    if key == METHOD:
        return METHODS.title(value)
    if key == BACKBONE:
        return BACKBONES.title(value)
    if key == CONDITIONAL:
        count = len(str(value).split(","))
        several = f" of {count} penalties" if count > 1 else ""
        return "a network for each λ" if value == SEPARATE else f"one network for every λ{several}"
    if key == f"{CONDITION}kind":
        return f"λ enters by {value}"
    if key == "similarity":
        return f"{key} {SIMILARITIES.title(value)}"
    if key == REFINED:
        return f"refined, at most {value:g} steps" if value else "not refined"
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{key.rsplit('.', 1)[-1].replace('_', ' ')} {shown}"


def upper_first(words: str) -> str:
    """Words that begin a sentence; the other letters stay as they are."""
    return words[:1].upper() + words[1:]


def configuration_name(line: Any, frame: pd.DataFrame) -> str:
    """A configuration in words: ``L2, λ 0.1`` or ``SyN``, and its `variant`."""
    objective = [PENALTIES.title(line["penalty"]), f"λ {line['lambda']:g}"]
    name = [METHODS.title(line["model"])] if line["model"] in without_objective() else objective
    return ", ".join([*name, *variant(line, frame)])
