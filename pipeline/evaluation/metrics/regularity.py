"""The regularity of both fields: Jacobian determinants, vector lengths and the value of every penalty."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ....networks import PENALTIES, PenaltyEntry
from ..vocabulary import FIELDS, METRICS, MetricEntry

if TYPE_CHECKING:
    from ..measured_pair import MeasuredPair

_POSITIVE = (0.0, math.inf)
_MEASURES: dict[str, dict[str, Any]] = {
    "nonpositive_percent": {
        "title": "folding, {field}",
        "meaning": "percentage of voxels in which the Jacobian determinant of the {field} is not positive",
        "remark": "0 means no folding",
        "unit": "%",
        "range": (0.0, 100.0),
        "quantity": "non-positive Jacobian of the {field}",
        "required": True,
    },
    "nondiffeomorphic_percent": {
        "title": "non-diffeomorphic, {field}",
        "meaning": "area (2-D) or volume (3-D) that the {field} folds, in percent of the grid (Liu et al., IJCV 2024)",
        "remark": "it detects folds between voxels, which the determinant at a voxel misses",
        "unit": "%",
        "range": _POSITIVE,
    },
    "sdlogj": {
        "title": "SDlogJ, {field}",
        "meaning": "standard deviation of the logarithm of the Jacobian determinant of the {field}: how unevenly the "
        "volume changes",
        "remark": "0 for a translation, lower is smoother",
        "range": _POSITIVE,
        "quantity": "SDlogJ of the {field}",
    },
    "sdlogj_l2r": {
        "title": "SDlogJ as Learn2Reg, {field}",
        "meaning": "SDlogJ by the formula of the Learn2Reg challenge: of log(determinant + 3), without two voxels at "
        "the border",
        "remark": "it hardly reacts to folding",
        "range": _POSITIVE,
    },
    "det_min": {"title": "least determinant, {field}", "meaning": "smallest Jacobian determinant of the {field}"},
    "magnitude": {
        "title": "mean length, {field}",
        "meaning": "mean length of the {field}'s vectors, in voxels of its own grid",
        "unit": "voxels",
        "range": _POSITIVE,
    },
}
FOLDING, VELOCITY_FOLDING = (f"{field}_nonpositive_percent" for field in FIELDS)
SDLOGJ = f"{FIELDS[0]}_sdlogj"
_CHOSEN: dict[str, Any] = {"role": "smoothness", "main": True, "interval": True}
_ALSO: dict[str, dict[str, Any]] = {
    FOLDING: {"title": "folding", "heading": "folding, displacement (%)", "priority": 1, **_CHOSEN},
    f"{FIELDS[0]}_nondiffeomorphic_percent": {"interval": True},
    SDLOGJ: {"title": "SDlogJ", "priority": 0, **_CHOSEN},
    VELOCITY_FOLDING: {"narrow": "velocity\nfolding %", "main": True},
}


def _entry(field: str, measure: str, place: int, target: str, **about: Any) -> MetricEntry:
    smoother = {} if measure.startswith("det_") or measure == "magnitude" else {"better": "lower", "best": 0.0}
    about = {key: value.format(field=field) if isinstance(value, str) else value for key, value in about.items()}
    return MetricEntry(
        name=f"{field}_{measure}",
        target=f"{__name__}:{target}",
        arguments={"field": field, "name": measure},
        place=place,
        **{
            "needs": (field,),
            "main": False,
            "interval": False,
            "remark": "",
            **smoother,
            **about,
            **_ALSO.get(f"{field}_{measure}", {}),
        },
    )


for _start, _field in zip((200, 300), FIELDS, strict=True):
    for _place, (_measure, _about) in enumerate(_MEASURES.items(), start=_start):
        METRICS.add(_entry(_field, _measure, _place, "magnitude" if _measure == "magnitude" else "jacobian", **_about))
    for _quantile in ("p01", "p05", "p50", "p95", "p99", "max"):
        _words = "greatest" if _quantile == "max" else f"{int(_quantile[1:])} % quantile of the"
        _about = {
            "title": f"{_words} determinant, {_field}",
            "meaning": f"{_words} Jacobian determinant of the {_field}",
        }
        METRICS.add(_entry(_field, f"det_{_quantile}", 500, "jacobian", **_about, listed=False))


def _of_penalty(entry: PenaltyEntry) -> Iterator[MetricEntry]:
    for field in (entry.field,) if entry.field else FIELDS:
        about = {"title": f"{entry.title}, {field}", "meaning": entry.meaning, "source": entry.source}
        needs = (field, *(["inverse_displacement"] if entry.both_directions else []))
        about |= {"always": entry.always, "minimized": entry.name, "needs": needs}
        yield _entry(field, entry.name, 600 + entry.place, "penalty", **about, range=_POSITIVE, listed=False)


METRICS.derived.append((PENALTIES, _of_penalty))


def jacobian(pair: "MeasuredPair", field: str, name: str) -> float:
    """The value of this name in :func:`~smoothmorph.transforms.jacobian_statistics`."""
    return pair.jacobian(field)[name]


def magnitude(pair: "MeasuredPair", field: str, name: str) -> float:
    """The mean length of a field's vectors, in voxels of its own grid."""
    return float(pair.field(field).square().sum(1).sqrt().mean())


def penalty(pair: "MeasuredPair", field: str, name: str) -> float:
    """The value of a penalty, without λ and multiplier."""
    return float(PENALTIES[name]()(pair.field(field), pair.inverse_displacement))
