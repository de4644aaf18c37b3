"""One pair across λ and penalties: all pictures and numbers of some example pairs, made when the page is written."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd

from ...pipeline.evaluation import METRICS, SDLOGJ
from ...transforms.basics.errors import printable
from ..figures.examples import Images, Setting, arrays_of, downwards, settings_with_examples
from ..figures.panels import brightest
from ..rows.summaries import main_metrics, not_refined, pick, records
from ..store.archive import EXAMPLES_AT_MOST
from ..store.run_folder import Run
from .blocks import Choice, Explorer, ShownPair, data_uri
from .panel_images import determinant_key, longest_side, moving_and_fixed, registered
from .tables import number_form

LARGEST = 3_600_000
"""Characters of all pictures. As many pairs are shown as fit, at least one."""
PANELS = ("moving", "fixed", "warped", "warped grid", "Jacobian determinant")
CAPTION = (
    "Blue lines are the grid of the moving image, warped onto the fixed image. Where the determinant is not positive, "
    "the field folds: red on the grid, green in the map."
)
IN_PLANE = " The pictures are a slice, and their determinants those in its plane; the numbers are of the whole volume."
Number = float | None


def one_pair(run: Run, rows: pd.DataFrame) -> Explorer | None:
    """The example pairs of a run under every λ, penalty and setting; None if there is nothing to choose.

    Args:
        run: the run.
        rows: its rows, with the numbers of each pair.

    Raises:
        InputError: a file of example pairs is damaged.
    """
    settings = settings_with_examples(run, rows)
    trials = [trial for setting in settings for _, trial in setting.trials]
    if len(trials) < 2:
        return None
    pictures = Pictures(run)
    drawn = pictures.of_pairs(trials)
    numbers = _Numbers(not_refined(rows), [names for pairs in drawn.values() for names, _ in pairs])
    choices = [
        Choice(
            printable(setting.title),
            printable(setting.variant),
            ["" if weight is None else f"{weight:g}" for weight, _ in setting.trials],
            [[_shown(numbers, trial, *pair) for pair in drawn[trial]] for _, trial in setting.trials],
        )
        for setting in settings
    ]
    volumes = any(run.trials[trial].cohort.spatial_dims == 3 for trial in trials)
    caption, headings = CAPTION + IN_PLANE * volumes, [METRICS[name].column for name in numbers.metrics]
    images, key = list(pictures.places), data_uri("image/webp", determinant_key())
    return Explorer(*_words(settings), caption, _kind(settings), PANELS, headings, images, choices, key)


def _words(settings: Sequence[Setting]) -> tuple[str, str]:
    """The title, and how to use it: what there is to choose."""
    moves, names = any(len(setting.trials) > 1 for setting in settings), {setting.title for setting in settings}
    penalties = {setting.title for setting in settings if setting.trials[0][0] is not None}
    parts = ["λ"] * moves + ["penalties"] * (len(penalties) > 1)
    title = f"One pair across {' and '.join(parts)}" if parts else "One pair in every setting"
    intro = ["One test pair and its own numbers; the tables have the means over all pairs."]
    if moves:
        intro.append("Move λ: a larger λ gives a smoother field.")
    others = [_kind(settings).lower()] * (len(names) > 1) + ["setting"] * (len(names) < len(settings))
    if moves and others:
        intro.append(
            f"If you choose another {' or '.join(others)}, λ moves to where {METRICS.title(SDLOGJ)} is nearest to the "
            "last λ that you chose, because only equally smooth fields are compared fairly."
        )
    return title, " ".join(intro)


def _kind(settings: Sequence[Setting]) -> str:
    """What the names of the choices are: of penalties, of methods without λ, or of both."""
    without = {setting.trials[0][0] is None for setting in settings}
    return "Penalty or method" if len(without) > 1 else "Method" if without == {True} else "Penalty"


class Pictures:
    """The pictures of example pairs, each once, by data URI in the order of their places."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.places: dict[str, int] = {}
        self._size = 0
        self._before: dict[tuple[bytes, ...], list[int]] = {}

    def of_pairs(self, trials: Sequence[str]) -> dict[str, list[tuple[tuple[str, str], list[int]]]]:
        """For each trial, its first pairs: the names of moving and fixed image, and the places of the pictures.

        All trials have the same number of pairs: as many as every trial has and as are not too large together.
        """
        found: dict[str, list[tuple[tuple[str, str], list[int]]]] = {trial: [] for trial in trials}
        side = longest_side(len(trials))
        pair, there = 0, EXAMPLES_AT_MOST
        while pair < there and self._size * (pair + 1) <= LARGEST * max(1, pair):  # each pair is about as large
            for trial in trials:
                arrays = arrays_of(self.run, trial)
                there = min(there, len(arrays["fixed"]))
                own = {name: array[pair] for name, array in arrays.items()}
                found[trial].append(((str(own["moving_id"]), str(own["fixed_id"])), self._of(trial, own, side)))
            pair += 1
        return found

    def _of(self, trial: str, own: Images, side: int) -> list[int]:
        """The places of the five pictures of a pair. The images before registration are drawn once."""
        down = downwards(self.run.trials[trial])
        key = (own["moving"].tobytes(), own["fixed"].tobytes(), str((own["fixed"].shape, down)).encode())
        if key not in self._before:
            self._before[key] = self._keep(moving_and_fixed(own["moving"], own["fixed"], down, side))
        top = brightest(own["moving"], own["fixed"])
        return [*self._before[key], *self._keep(registered(own["warped"], own["displacement"], top, down, side))]

    def _keep(self, files: Iterable[bytes]) -> list[int]:
        places = []
        for content in files:
            source = data_uri("image/webp", content)
            if source not in self.places:
                self._size += len(source)
            places.append(self.places.setdefault(source, len(self.places)))
        return places


class _Numbers:
    """The numbers of pairs as text, with the same number of decimals wherever a metric is shown."""

    def __init__(self, rows: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> None:
        wanted = pd.MultiIndex.from_tuples(list(dict.fromkeys(pairs)))
        own = pick(rows, pd.MultiIndex.from_frame(rows[["moving", "fixed"]].astype(str)).isin(wanted))
        self._lines = {(str(line["trial"]), str(line["moving"]), str(line["fixed"])): line for line in records(own)}
        self.metrics = [name for name in main_metrics(rows) if name in own and own[name].notna().any()]
        self._forms = {
            name: number_form(own[[key for key in (name, f"{name}_before") if key in own]].to_numpy(float).ravel())
            for name in self.metrics
        }

    def of(self, trial: str, pair: tuple[str, str]) -> tuple[Number, list[tuple[str, str]]]:
        """SDlogJ of a pair, and for each metric the values before and after registration; empty if not measured."""
        line = self._lines.get((trial, *pair), {})
        smoothness = _number(line, SDLOGJ)
        return smoothness, [(self._text(line, name, "_before"), self._text(line, name, "")) for name in self.metrics]

    def _text(self, line: Mapping[str, Any], metric: str, when: str) -> str:
        value = _number(line, metric + when)
        return "" if value is None else self._forms[metric](value)


def _number(line: Mapping[str, Any], column: str) -> Number:
    value = line.get(column)
    return float(value) if value is not None and isfinite(value) else None


def _shown(numbers: _Numbers, trial: str, pair: tuple[str, str], images: list[int]) -> ShownPair:
    smoothness, texts = numbers.of(trial, pair)
    return ShownPair(" onto ".join(map(printable, pair)), images, smoothness, texts)
