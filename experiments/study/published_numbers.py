"""Published numbers of a study: the file ``NAME.numbers.yaml`` beside its ``NAME.yaml``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...pipeline.files.strict_yaml import read_yaml, to_yaml
from ...pipeline.files.text import write_text
from ...pipeline.settings.schema import Settings, TrialSettings, parse
from ...transforms.basics.errors import InputError, quoted

if TYPE_CHECKING:
    import pandas as pd

ENDING = ".numbers.yaml"
BESIDE = ("mse", "mse_before", "dice", "dice_before", "displacement_nonpositive_percent", "displacement_sdlogj")
"""Metrics of our trials that are shown besides the published ones."""


class PublishedNumbers(Settings):
    """The content of such a file."""

    note: str = Field(default="", description="definition of the numbers, for the report")
    validation_every: int = Field(
        default=1, ge=1, description="epochs between two validations; the lowest validation loss counts"
    )
    lines: list[dict[str, str | float]] = Field(
        description="one line per trial: its group, the settings that identify it, and metrics by their names in rows"
    )


def read_numbers(study: Path) -> PublishedNumbers | None:
    """The numbers beside a study file; None if there are none.

    Raises:
        InputError: the file cannot be read, or does not hold such numbers.
    """
    file = study.with_suffix(ENDING)
    if not file.is_file():
        return None
    numbers: PublishedNumbers = parse(PublishedNumbers, read_yaml(file), str(file))
    for line in numbers.lines:
        for name, value in _parts(line)[1].items():
            if not isinstance(value, float):
                raise InputError(
                    f"{file}: {name} is {quoted(value)}; expected a setting of a trial, or a metric with a number."
                )
    return numbers


def write_numbers(study: Path, numbers: PublishedNumbers) -> None:
    """Write the file that :func:`read_numbers` reads, beside a study file."""
    write_text(study.with_suffix(ENDING), to_yaml(numbers.model_dump(mode="json"), allow_unicode=True, width=110))


def beside_ours(
    numbers: PublishedNumbers,
    trials: Mapping[str, Mapping[str, TrialSettings]],
    rows: pd.DataFrame,
    history: pd.DataFrame,
) -> pd.DataFrame:
    """One line per published line: its numbers, ours by the same definitions, and our usual metrics (`BESIDE`).

    ``loss`` is the lowest validation loss among every ``validation_every``-th epoch and the last one. The other
    metrics are means over the test pairs. A trial that is not complete has only its published numbers.

    Args:
        numbers: the published numbers.
        trials: for each group of the study, the settings of its trials by identifier.
        rows: the rows of the complete trials, without those of refinement.
        history: the histories of the trials.
    """
    import pandas as pd

    lines = []
    for printed in numbers.lines:
        named, measures = _parts(printed)
        line: dict[str, Any] = {"table": printed.get("group"), **named}
        line |= {f"published_{name}": value for name, value in measures.items()}
        group = trials.get(str(printed.get("group")), {})
        trial = next((trial for trial, settings in group.items() if _is(settings.columns(), named)), None)
        if trial is not None and trial in set(rows["trial"]):
            own, past = rows[rows["trial"] == trial], history[history["trial"] == trial] if len(history) else history
            ours = {name: own[name].mean() for name in measures if name in own}
            line |= {"seed": own["seed"].iloc[0]}
            if len(past):
                line["epochs"] = last = past["epoch"].max()
                looked_at = past[((past["epoch"] - 1) % numbers.validation_every == 0) | (past["epoch"] == last)]
                ours |= {"loss": looked_at["validation_loss"].min()} if "loss" in measures else {}
            line |= {f"our_{name}": ours[name] for name in measures if name in ours}
            line |= {name: own[name].mean() for name in BESIDE if name in own}
        lines.append(line)
    table = pd.DataFrame(lines)
    table.attrs |= {"title": "Beside the published numbers", "note": numbers.note}
    return table


def _parts(line: Mapping[str, str | float]) -> tuple[dict[str, str | float], dict[str, str | float]]:
    """The settings that identify a trial, by their names in rows, and the metrics."""
    known = TrialSettings().columns()
    named = {key: value for key, value in line.items() if key in known}
    return named, {key: value for key, value in line.items() if key not in {"group", *named}}


def _is(settings: Mapping[str, Any], named: Mapping[str, str | float]) -> bool:
    pairs = [(settings[key], value) for key, value in named.items()]
    return all(
        math.isclose(one, value, rel_tol=1e-5)
        if isinstance(one, int | float) and isinstance(value, float)
        else one == value
        for one, value in pairs
    )
