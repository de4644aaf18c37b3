"""Evaluate one 3-D pair with our code and, for the same metrics, with VoxelMorph's NumPy utilities."""

from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from official_voxelmorph import import_voxelmorph
from smoothmorph.pipeline.evaluation.measured_pair import LabelMap, MeasuredPair
from smoothmorph.pipeline.evaluation.vocabulary import METRICS
from smoothmorph.transforms import jacobian_statistics

from .sides import Case, Place, Sides

_LABELS = {value: str(value) for value in range(1, 36)}


def evaluations(case: Case, place: Place, precision: str) -> Sides:
    """Measure Dice of 35 labels, folding, SDlogJ and the non-diffeomorphic volume of one pair.

    The official side uses voxelmorph's ``dice`` and ``jacobian_determinant``, and NumPy for the rest.
    """
    shape = tuple(24 for _ in case.shape) if place.quick else case.shape
    displacement, labels = _pair(shape, torch.float64 if precision == "float64" else torch.float32)
    field, first, second = displacement[0].movedim(0, -1).numpy(), labels[0, 0, 0].numpy(), labels[1, 0, 0].numpy()
    displacement, labels = displacement.to(place.device), labels.to(place.device)
    utils = import_voxelmorph().py.utils

    def official() -> dict[str, float]:
        determinant = utils.jacobian_determinant(field)
        return {
            "dice": float(np.mean(utils.dice(first, second, labels=list(_LABELS)))),
            "nonpositive_percent": float(100 * np.mean(determinant <= 0)),
            "sdlogj": float(np.log(np.clip(determinant, 1e-9, 1e9)).std()),
            "nondiffeomorphic_percent": _nondiffeomorphic_percent(field),
        }

    def ours() -> dict[str, float]:
        statistics = {name: float(value) for name, value in jacobian_statistics(displacement).items()}
        first, second = (LabelMap(own, _LABELS, (1.0,) * 3) for own in labels)
        overlap = MeasuredPair(labels[0], labels[1], labels=(first, second)).measure([METRICS["dice"]])
        return {**statistics, "dice": overlap["dice"]}

    def results() -> list[tuple[Tensor, Tensor]]:
        own, theirs = ours(), official()
        pairs = torch.tensor([(own[name], value) for name, value in theirs.items()], dtype=torch.float64)
        return [(mine, their) for mine, their in pairs]

    return Sides(official, ours, results)


def _pair(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Make a random smooth displacement (1, 3, *shape) that folds in places, and two label maps (2, 1, 1, *shape)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 3, *[length // 8 for length in shape], generator=generator)
    noise = torch.rand(2, 1, *[length // 8 for length in shape], generator=generator)
    labels = (36 * F.interpolate(noise, shape, mode="trilinear")).floor().short()[:, None]
    return 3 * F.interpolate(coarse, shape, mode="trilinear").to(dtype), labels


def _nondiffeomorphic_percent(field: np.ndarray) -> float:
    """Compute the non-diffeomorphic volume in % of a field (*spatial, 3) in NumPy, from the corners of each simplex.

    Source: Liu et al., IJCV 2024. Our own code computes it in another way.
    """
    points = field + np.stack(np.meshgrid(*map(np.arange, field.shape[:3]), indexing="ij"), axis=-1)
    halves = (slice(None, -1), slice(1, None))

    def at(*corner: int) -> np.ndarray:
        return points[tuple(halves[offset] for offset in corner)]

    def inverted(start: tuple[int, ...], ends: list[tuple[int, ...]], sign: int) -> float:
        sides = [at(*end) - at(*start) for end in ends]
        volumes = sign * np.einsum("...a,...a", sides[0], np.cross(sides[1], sides[2])) / 6
        return -np.minimum(volumes, 0).sum()

    total = 0.0
    for i, j, k in product((0, 1), repeat=3):
        sign = (1 - 2 * i) * (1 - 2 * j) * (1 - 2 * k)
        total += inverted((i, j, k), [(1 - i, j, k), (i, 1 - j, k), (i, j, 1 - k)], sign)
    for s, t in ((0, 1), (1, 0)):
        total += inverted((s, s, s), [(s, t, t), (t, s, t), (t, t, s)], t - s)
    return float(100 * total / 2 / np.prod([length - 1 for length in field.shape[:3]]))
