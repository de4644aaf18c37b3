"""The similarity of the images: one metric for each similarity loss, which is the loss times its sign."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ....networks import SIMILARITIES, SimilarityEntry
from ..vocabulary import METRICS, MetricEntry

if TYPE_CHECKING:
    from ..measured_pair import MeasuredPair


def _of_similarity(entry: SimilarityEntry) -> Iterator[MetricEntry]:
    yield MetricEntry(
        name=entry.name,
        title=entry.title,
        meaning=entry.meaning,
        target=f"{__name__}:similarity",
        arguments={"name": entry.name},
        place=entry.place,
        better=entry.better,
        best=entry.best,
        unit=entry.unit,
        range=(0.0 if (entry.better, entry.best) == ("lower", 0.0) else -math.inf, math.inf),
        form=entry.form,
        role="similarity",
        always=entry.always,
        required=entry.required,
    )


METRICS.derived.append((SIMILARITIES, _of_similarity))


def similarity(pair: "MeasuredPair", name: str) -> float:
    """The similarity of the warped and the fixed image, in the unit of its entry."""
    entry = SIMILARITIES[name]
    return entry.sign * float(entry(pair.fixed.ndim - 2)(pair.warped, pair.fixed))
