"""One pair of images before or after registration, the argument of every metric."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.ndimage import find_objects
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue] (KDTree with less around it)
from torch import Tensor

from ...networks import Objective, Registration
from ...transforms import displace_points, jacobian_statistics
from .vocabulary import MetricEntry

LARGE = 1000
"""Label maps with a value above this are renumbered; the Allen atlas has values above 600 million."""


class LabelMap:
    """A label map (1, 1, *spatial) of named structures.

    Args:
        labels: integer label values; a value without a name counts as background.
        names: name of each label value; values are above 0.
        spacing: mm per voxel.
    """

    def __init__(self, labels: Tensor, names: Mapping[int, str], spacing: Sequence[float]) -> None:
        if names and max(names) > LARGE:  # because `label_counts` has a cell for every pair of values
            labels, names = _numbered(labels, list(names)), dict(enumerate(names.values(), start=1))
        self.names, self.spacing, self.size = dict(names), spacing, max(names, default=0) + 1
        self.values = torch.where((labels >= 0) & (labels < self.size), labels, 0).long()

    @cached_property
    def surfaces(self) -> dict[int, np.ndarray]:
        """Surface voxels of each label value: positions (N, D) in mm. They touch another value or the image's edge."""
        return _surfaces(self.values[0, 0].cpu().numpy(), self.spacing)


@dataclass(frozen=True)
class MeasuredPair:
    """A pair of images and its registration; without fields, the pair before registration.

    Values that several metrics use are computed once: `label_counts`, `surface_distances`, `landmark_distances`,
    `jacobian`.

    Attributes:
        warped, fixed: images (1, 1, *spatial).
        displacement, velocity: fields (1, D, *spatial) in voxels of their own grid, fixed -> moving.
        labels: the warped and the fixed label map, with the same structures.
        landmarks: corresponding points (N, D) of the moving and the fixed image, each in voxels of its own image.
        spacing: mm per voxel.
        objective: the objective of the training or optimization; None for other methods.
        inverse_displacement: displacement of the registration of the fixed to the moving image, if it was computed.
        weight_map: factor on the penalty of the objective for every voxel (1, 1, *spatial).
        seconds: duration of the registration.
        steps: steps of optimization on this pair; None for a method without them.
    """

    warped: Tensor
    fixed: Tensor
    displacement: Tensor | None = None
    velocity: Tensor | None = None
    labels: tuple[LabelMap, LabelMap] | None = None
    landmarks: tuple[Tensor, Tensor] | None = None
    spacing: Sequence[float] | None = None
    objective: Objective | None = None
    inverse_displacement: Tensor | None = None
    weight_map: Tensor | None = None
    seconds: float | None = None
    steps: int | None = None

    def measure(self, metrics: Iterable[MetricEntry]) -> dict[str, float]:
        """The columns of these metrics. A metric is skipped if the pair lacks a part that it needs."""
        row: dict[str, float] = {}
        for metric in metrics:
            if any(getattr(self, part) is None for part in metric.needs):
                continue
            value = metric(self)
            if isinstance(value, Mapping):
                row[metric.name] = float(torch.tensor(list(value.values()), dtype=torch.float64).nanmean())
                row |= {f"{metric.name}/{structure}": float(number) for structure, number in value.items()}
            else:
                row[metric.name] = float(value)
        return row

    def field(self, name: str) -> Tensor:
        """The field of this name, ``displacement`` or ``velocity``."""
        return getattr(self, name)

    def jacobian(self, field: str) -> dict[str, float]:
        """The :func:`~smoothmorph.transforms.jacobian_statistics` of a field."""
        if field not in self._jacobians:
            statistics = jacobian_statistics(self.field(field))
            self._jacobians[field] = {name: float(value) for name, value in statistics.items()}
        return self._jacobians[field]

    @cached_property
    def _jacobians(self) -> dict[str, dict[str, float]]:
        return {}

    @property
    def registration(self) -> Registration:
        """The registration as networks return it."""
        return Registration(self.warped, self.field("displacement"), self.field("velocity"), self.inverse_displacement)

    @property
    def structures(self) -> list[str]:
        """The names of the structures."""
        return list(self.maps[0].names.values())

    @property
    def maps(self) -> tuple[LabelMap, LabelMap]:
        assert self.labels is not None  # a metric of labels needs them
        return self.labels

    @cached_property
    def label_counts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Number of voxels of each structure, (S,) each: in both maps, in the warped map, in the fixed map."""
        ours, truth = self.maps
        joint = torch.bincount((ours.values * ours.size + truth.values).flatten(), minlength=ours.size**2)
        joint, values = joint.view(ours.size, ours.size).double(), torch.tensor(list(ours.names), dtype=torch.long)
        return joint.diagonal()[values], joint.sum(1)[values], joint.sum(0)[values]

    @cached_property
    def surface_distances(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Surface distances in mm, in both directions, of each structure that is in both maps."""
        sides, distances = self.maps, {}
        for value, name in sides[0].names.items():
            here, there = (labels.surfaces.get(value) for labels in sides)
            if here is not None and there is not None:
                distances[name] = cKDTree(there).query(here)[0], cKDTree(here).query(there)[0]
        return distances

    def masks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each structure in both maps, the voxels of the warped and of the fixed one, cut around both (*spatial)."""
        maps = [labels.values[0, 0].cpu().numpy() for labels in self.maps]
        boxes = [find_objects(values, max_label=self.maps[0].size - 1) for values in maps]
        for value in self.maps[0].names:
            own = [box[value - 1] for box in boxes]
            if None not in own:
                cut = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(*own, strict=True))
                warped, fixed = (values[cut] == value for values in maps)
                yield warped, fixed

    @cached_property
    def landmark_distances(self) -> Tensor:
        """Distances (N,) in mm between the moving landmarks and the fixed landmarks, mapped by the field."""
        assert self.landmarks is not None
        moving, fixed = self.landmarks
        predicted = fixed if self.displacement is None else displace_points(fixed, self.displacement)
        return ((predicted - moving) * torch.tensor(self.spacing)).norm(dim=1)


def _numbered(labels: Tensor, values: Sequence[int]) -> Tensor:
    """Replace each voxel's label by its position in ``values``, counted from 1, or by 0 if it is not there."""
    ordered, places = torch.tensor(values, device=labels.device).sort()
    found = torch.searchsorted(ordered, labels.long().contiguous())  # contiguous, or torch warns
    found = found.clamp(max=len(values) - 1)
    return torch.where(ordered[found] == labels, places[found] + 1, 0)


def _surfaces(labels: np.ndarray, spacing: Sequence[float]) -> dict[int, np.ndarray]:
    """Positions (N, D) in mm of each label's voxels that touch another label or the image's edge; labels above 0."""
    inside = np.ones(labels.shape, bool)
    around = np.pad(labels, 1)
    for axis in range(labels.ndim):
        for start in (0, 2):
            neighbours = [slice(1, -1)] * labels.ndim
            neighbours[axis] = slice(start, start + labels.shape[axis])
            inside &= around[tuple(neighbours)] == labels
    points = np.argwhere(~inside & (labels > 0))
    values = labels[tuple(points.T)]
    order = np.argsort(values, kind="stable")
    found, starts = np.unique(values[order], return_index=True)
    parts = np.split(points[order] * np.asarray(spacing), starts[1:])  # without labels: one empty part
    return dict(zip(found.tolist(), parts, strict=False))
