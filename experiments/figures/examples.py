"""The example pairs of a run: which trials have them, and their arrays."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ...networks import PENALTIES
from ...pipeline import METHODS, READERS, TrialSettings
from ..rows.naming import variant
from ..rows.summaries import baselines, configuration, not_refined, penalized, pick, records
from ..store.archive import examples_file, read_examples
from ..store.run_folder import Run

Images = dict[str, np.ndarray]


class Example(NamedTuple):
    """The example pairs of one trial: its penalty (or a baseline's name), its λ, and the arrays of ``examples.npz``."""

    penalty: str
    weight: float
    arrays: Images

    @property
    def name(self) -> str:
        return f"{PENALTIES.title(self.penalty)}\nλ = {self.weight:g}" if self.penalty in PENALTIES else self.penalty


class Setting(NamedTuple):
    """One penalty (or baseline) in one setting: its λ, in order, and the trial of each. A baseline has no λ (None)."""

    title: str
    variant: str
    trials: tuple[tuple[float | None, str], ...]


def settings_with_examples(run: Run, rows: pd.DataFrame) -> list[Setting]:
    """Every penalty in every setting, then every baseline that registers. Each trial is of its first seed.

    Trials without examples are left out.
    """
    rows = not_refined(rows)
    keys = configuration(rows)
    own = with_examples(run, penalized(rows))
    first = own.sort_values("seed", kind="stable").drop_duplicates(keys).sort_values("lambda", kind="stable")
    parts = [part for _, part in first.groupby([key for key in keys if key != "lambda"], dropna=False)]
    parts.sort(key=lambda part: PENALTIES.place(part["penalty"].iloc[0]))
    found = []
    for part in parts:
        line = part.iloc[0]
        trials = tuple((float(weight), str(trial)) for weight, trial in zip(part["lambda"], part["trial"], strict=True))
        found.append(Setting(PENALTIES.title(line["penalty"]), ", ".join(variant(line, rows)), trials))
    for line in records(baselines_with_examples(run, rows)):
        words = ", ".join(variant(line, rows))
        found.append(Setting(METHODS.title(line["model"]), words, ((None, str(line["trial"])),)))
    return found


def examples_of_baselines(run: Run, rows: pd.DataFrame) -> list[Example]:
    """The examples of every baseline that registers, from its first seed."""
    found = []
    for line in records(baselines_with_examples(run, rows)):
        name = "\n".join([METHODS.title(line["model"]), *variant(line, rows)])
        found.append(Example(name, 0.0, arrays_of(run, str(line["trial"]))))
    return found


def baselines_with_examples(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    """One row of every baseline that registers, from its first seed with examples."""
    rows = baselines(rows)
    still = [name for name, method in METHODS.items() if not method.registers]
    rows = with_examples(run, pick(rows, ~rows["model"].isin(still)))
    return rows.sort_values("seed", kind="stable").drop_duplicates(configuration(rows)) if len(rows) else rows


def with_examples(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the trials whose examples were kept."""
    there = [trial for trial in rows["trial"].unique() if examples_file(run.path, trial) is not None]
    return pick(rows, rows["trial"].isin(there))


def arrays_of(run: Run, trial: str) -> Images:
    """The arrays of a trial's examples, in single precision or better.

    Raises:
        InputError: the file is damaged.
    """
    path = examples_file(run.path, trial)
    assert path is not None
    arrays = read_examples(path)
    return {name: a.astype(np.float32) if a.dtype == np.float16 else a for name, a in arrays.items()}


def downwards(settings: TrialSettings) -> bool:
    """Whether the second axis points down: in 2-D images, and in volumes if their reader says so."""
    return settings.cohort.spatial_dims == 2 or READERS[settings.cohort.reader].downwards
