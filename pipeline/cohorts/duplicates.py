"""Detection of subjects that are probably the same brain: every pair of images is correlated."""

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .cohort import Subject

LONGEST = {2: 192, 3: 40}
"""Maximum number of voxels per axis, by number of axes; larger images are averaged down before correlation."""
IDENTICAL = 1 - 1e-5
"""Images with at least this correlation have the same content."""
SCORE = 6.0
"""A pair above this score is suspect. The score counts robust standard deviations above the median of all pairs. The
most similar pair of different brains scores 3.5 in Neurite-OASIS (414 slices) and 4.5 in 200 phantoms; known duplicates
score 8.9."""


@dataclass(frozen=True)
class Duplicate:
    """Two subjects that are probably the same brain."""

    first: str
    second: str
    correlation: float
    score: float
    """Number of robust standard deviations above the median pair, in Fisher's z = artanh(correlation)."""
    identical: bool
    """Whether the images have the same content."""
    same_group: bool
    """Whether the cohort has them in one group, which a split never divides."""


@dataclass
class Thumbnails:
    """Images on one grid as unit vectors with mean 0, so that a scalar product is a correlation."""

    subjects: list[Subject] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)
    _size: tuple[int, ...] | None = None

    def add(self, subject: Subject, image: Tensor) -> None:
        """Append an image (1, *spatial). The first image decides the grid; the others are resampled to it."""
        axes = image.ndim - 1
        if self._size is None:
            self._size = tuple(min(size, LONGEST[axes]) for size in image.shape[1:])
        if tuple(image.shape[1:]) != self._size:
            image = (F.adaptive_avg_pool2d if axes == 2 else F.adaptive_avg_pool3d)(image, self._size)  # type: ignore[arg-type]
        vector = image.reshape(-1).to(torch.float64)
        vector = vector - vector.mean()
        self.subjects.append(subject)
        self.vectors.append((vector / vector.norm().clamp_min(1e-300)).to(torch.float32).numpy())


def find_duplicates(thumbnails: Thumbnails) -> tuple[Duplicate, ...]:
    """Pairs that correlate much better than most pairs of this cohort, or that are identical.

    Fisher's z of each correlation is compared with the median and the median absolute deviation of all pairs. A few
    duplicates, or one repeat scan of every person, hardly change these two.
    """
    first, second, correlation = _pairs(thumbnails.vectors)
    if not len(correlation):
        return ()
    z = np.arctanh(np.clip(correlation, -IDENTICAL, IDENTICAL))
    centre = np.median(z)
    deviation = max(1.4826 * float(np.median(np.abs(z - centre))), 0.05)  # a few pairs can be equal by chance
    score = (z - centre) / deviation
    suspects = np.flatnonzero((score > SCORE) | (correlation >= IDENTICAL))
    suspects = suspects[np.argsort(-correlation[suspects], kind="stable")]
    subjects = thumbnails.subjects
    return tuple(
        Duplicate(
            first=subjects[first[pair]].id,
            second=subjects[second[pair]].id,
            correlation=float(correlation[pair]),
            score=float(score[pair]),
            identical=bool(correlation[pair] >= IDENTICAL),
            same_group=subjects[first[pair]].group == subjects[second[pair]].group,
        )
        for pair in suspects
    )


def _pairs(vectors: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The indices and the correlation of all pairs i < j."""
    matrix = np.stack(vectors) if vectors else np.empty((0, 1), np.float32)
    first, second = np.triu_indices(len(matrix), 1)
    return first, second, (matrix @ matrix.T)[first, second]
