"""Affine matrices applied to points and vectors."""

import numpy as np
import torch
from torch import Tensor


def apply_affine(matrix: np.ndarray, points: Tensor) -> Tensor:
    """Apply an affine matrix (W + 1, W + 1) to points (W, ...)."""
    return apply_linear(matrix, points) + torch.as_tensor(matrix[:-1, -1].copy()).to(points).view(
        -1, *[1] * (points.ndim - 1)
    )


def apply_linear(matrix: np.ndarray, vectors: Tensor) -> Tensor:
    """Apply the linear part of an affine matrix (W + 1, W + 1) to vectors (W, ...)."""
    return torch.einsum("ab,b...->a...", torch.as_tensor(matrix[:-1, :-1].copy()).to(vectors), vectors)
