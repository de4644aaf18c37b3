"""The variance of a mean over pairs that share subjects, also for few subjects.

Shapes: P pairs, N groups of subjects, T values.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


def without_atlas(moving: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The groups of pairs (P,) and (P,), where one group that is in every pair, an atlas, leaves them to the others.

    An atlas was chosen, not drawn: a result is about that atlas, and nothing can be known about others from its pairs
    alone. As a random group it would have a variance of its own, which no number of pairs makes smaller.
    """
    always = [group for group in np.unique([moving[0], fixed[0]]) if ((moving == group) | (fixed == group)).all()]
    if len(always) != 1 or (moving == fixed).any():
        return moving, fixed
    _, others = np.unique(np.where(moving == always[0], fixed, moving), return_inverse=True)
    return others, others


@dataclass(frozen=True)
class PairDesign:
    """Which groups of subjects (usually: which subjects) each pair belongs to.

    Attributes:
        moving, fixed: (P,) the group of each scan, as numbers 0..N-1. Both are the same for a pair within a group.
    """

    moving: np.ndarray
    fixed: np.ndarray

    @cached_property
    def blocks(self) -> np.ndarray:
        """(P,) the second part of a pair's variance: pairs of the same two groups have one number.

        If all pairs are within groups, the groups are the first part already; then every pair has its own number.
        """
        couples = np.sort(np.stack([self.moving, self.fixed], axis=1), axis=1)
        if (self.moving == self.fixed).all():
            return np.arange(len(couples))
        return np.unique(couples, axis=0, return_inverse=True)[1].ravel()

    def _of_groups(self, values: np.ndarray) -> np.ndarray:
        """(P, T) -> (N, T): the sum over the pairs of each group; a pair within a group counts once."""
        sums = np.zeros((int(max(self.moving.max(), self.fixed.max())) + 1, values.shape[1]))
        np.add.at(sums, self.moving, values)
        np.add.at(sums, self.fixed, values * (self.moving != self.fixed)[:, None])
        return sums

    def _of_blocks(self, values: np.ndarray) -> np.ndarray:
        """(P, T) -> (blocks, T)."""
        sums = np.zeros((int(self.blocks.max()) + 1, values.shape[1]))
        np.add.at(sums, self.blocks, values)
        return sums

    @cached_property
    def _counts(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) and (blocks,): the number of pairs of each."""
        ones = np.ones((len(self.moving), 1))
        return self._of_groups(ones)[:, 0], self._of_blocks(ones)[:, 0]

    @cached_property
    def _expected(self) -> np.ndarray:
        """(2, 2): the expected sums of squares (lines: groups, blocks) if one variance component is 1 (columns).

        The sums are over deviations from the mean. With M (P, N) and B (P, blocks) the membership of the pairs and
        H = I - 11'/P they are squared Frobenius norms: of M'HM, of B'HM and of B'HB.
        """
        pairs, (k, m) = len(self.moving), self._counts
        both = np.zeros((len(k), len(k)))
        np.add.at(both, (self.moving, self.fixed), 1.0)
        apart = both - np.diag(np.diag(both))
        groups = ((np.diag(k) + apart + apart.T - np.outer(k, k) / pairs) ** 2).sum()
        _, first = np.unique(self.blocks, return_index=True)
        moving, fixed = self.moving[first], self.fixed[first]
        within = moving == fixed
        members, of_members = 2.0 - within, k[moving] + k[fixed] * ~within
        squares = (m**2).sum()
        mixed = (m**2 * members).sum() - 2 / pairs * (m**2 * of_members).sum() + squares * (k**2).sum() / pairs**2
        blocks = squares - 2 / pairs * (m**3).sum() + squares**2 / pairs**2
        return np.array([[groups, mixed], [mixed, blocks]])

    def variance(self, values: np.ndarray) -> tuple[np.ndarray, float]:
        """The variance of the mean of ``values`` (P, T) over pairs, (T,), and its degrees of freedom.

        The values of a pair vary with each of its groups and with the two together: two variance components, which
        are found from their sums of squares (Henderson's method 1, Henderson 1953, Biometrics 9:226), and are at least
        0. With many subjects, this is the variance for dyadic data that is robust to shared subjects (Aronow, Samii and
        Assenova 2015, Political Analysis 23:564). With few subjects that variance is too small, because deviations are
        taken from the mean of few subjects; this one is not. The degrees of freedom are the number of groups minus 1,
        or fewer if some groups have more pairs than others: (sum k)² / sum k² - 1 for k pairs of each group, or for
        those of each couple, if that is less.

        If nothing repeats, as with a single couple of subjects, the variance is NaN.
        """
        deviations, (k, m) = values - values.mean(0), self._counts
        sums = np.stack([(self._of_groups(deviations) ** 2).sum(0), (self._of_blocks(deviations) ** 2).sum(0)])
        (groups, mixed), (_, blocks) = self._expected
        shares = np.array([(k**2).sum(), (m**2).sum()]) / len(values) ** 2  # of the components, in the mean's variance
        effective = min(k.sum() ** 2 / (k**2).sum(), m.sum() ** 2 / (m**2).sum())
        if effective < 1.5 or groups < 1e-9:
            return np.full(values.shape[1], np.nan), np.nan
        alone = np.array([sums[0] / groups, sums[1] / max(blocks, 1e-12)])  # if it were the only component
        determinant = groups * blocks - mixed**2
        if determinant < 1e-9 * groups * blocks:  # as for disjoint pairs: the two parts cannot be told apart
            return shares[0] * alone[0], effective - 1
        of_groups = (blocks * sums[0] - mixed * sums[1]) / determinant
        of_blocks = (groups * sums[1] - mixed * sums[0]) / determinant
        found = shares[0] * of_groups + shares[1] * of_blocks
        found = np.where(of_groups < 0, shares[1] * alone[1], found)
        return np.where(of_blocks < 0, shares[0] * alone[0], found), effective - 1
