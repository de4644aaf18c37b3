"""Register one image to another with a trained network: onto its grid, through it, and back into the world."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..networks import Objective, Refinement, VoxelMorph, refine
from ..transforms import Geometry, InputError, PhysicalField, jacobian_statistics
from .affine import LEAST_OVERLAP, register_affine
from .apply import check_world
from .config import TrialSettings
from .metrics import overlap_metrics, similarity_metrics
from .placement import in_voxels, overlap, resample
from .trained import Trained
from .training import build_objective
from .volumes import Volume

Tell = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps)."""


@dataclass(frozen=True)
class Pair:
    """What is registered: two images, and label maps over them where there are any."""

    moving: Volume
    fixed: Volume
    moving_labels: Volume | None = None
    fixed_labels: Volume | None = None

    def check(self, dims: int) -> None:
        """Raise InputError unless the files are what they are given as, belong together and have ``dims`` axes."""
        for image in (self.moving, self.fixed):
            if image.looks_like_labels:
                raise InputError(
                    f"{image.path} looks like a label map: its voxels are integers and most neighbours are equal; give "
                    "the image itself (label maps are warped along by --moving-labels)."
                )
            if image.grid.axes != dims:
                raise InputError(f"the model is for {dims}-D images, but {image.path} is {image.grid.axes}-D.")
        check_world(self.moving.path, self.moving.grid, self.fixed.path, self.fixed.grid)
        for labels, image in ((self.moving_labels, self.moving), (self.fixed_labels, self.fixed)):
            if labels is not None and not labels.grid.is_same(image.grid):
                raise InputError(
                    f"{labels.path} lies on another grid than its image {image.path}: {labels.grid}, expected "
                    f"{image.grid}; resample it."
                )


@dataclass(frozen=True)
class State:
    """How well moving and fixed image agree at some point, on the fixed grid; intensities scaled as in training."""

    name: str
    mse: float
    ncc: float
    dice: float | None
    """Mean over labels; None without both label maps."""
    folding: float
    """Voxels with a Jacobian determinant <= 0, %."""
    sdlogj: float


@dataclass(frozen=True)
class Registered:
    """A registered pair."""

    field: PhysicalField
    """On the fixed grid; the affine, where there is one, is apart."""
    states: tuple[State, ...]
    """Before, after the affine, by the network, refined: those that there are."""
    moving: Tensor
    """(1, *fixed) float32, scaled as in training, before registration; for pictures, as the next two."""
    fixed: Tensor
    warped: Tensor
    notices: tuple[str, ...]


def register(
    model: Trained,
    pair: Pair,
    affine: bool = False,
    steps: int = 0,
    objective: Objective | None = None,
    device: torch.device | str = "cpu",
    tell: Tell | None = None,
) -> Registered:
    """Register a pair of image files of any shape, spacing and orientation.

    Both images are brought onto a grid over the fixed image that has the axes and the spacing of the training images;
    the network's displacement is brought back onto the fixed image's own.

    Args:
        model: the network and what it was trained on.
        pair: the images.
        affine: align them first, see :func:`~smoothmorph.pipeline.affine.register_affine`.
        steps: of instance optimization, see :func:`~smoothmorph.networks.refine`.
        objective: of the instance optimization; None is that of the training.
        device: where the network runs.
        tell: told of progress.

    Raises:
        InputError: images that the model cannot register, that do not belong together or that do not overlap.
    """
    tell = tell or (lambda *_: None)
    pair.check(model.network.spatial_dims)
    grid = model.images.grid_over(pair.fixed)
    matrix = _affine(pair, affine, tell)
    settings = model.settings or TrialSettings()
    (moving, told), (fixed, also) = (
        model.images.scale(one, settings.cohort.intensity) for one in (pair.moving, pair.fixed)
    )
    on_grid = [
        resample(image, in_voxels(np.linalg.inv(volume.grid.affine_4x4) @ place, grid.shape, False), grid.shape, 1)
        for image, volume, place in (
            (moving, pair.moving, (np.eye(4) if matrix is None else matrix) @ grid.affine_4x4),
            (fixed, pair.fixed, grid.affine_4x4),
        )
    ]
    found = _by_network(
        model.network, objective or build_objective(settings), [image[None] for image in on_grid], steps, device, tell
    )
    fields = [PhysicalField(torch.zeros(pair.fixed.grid.axes, *pair.fixed.grid.shape), pair.fixed.grid)]
    names = ["before"]
    own = None if matrix is None else _own_axes(matrix, grid)
    if own is not None:
        fields.append(replace(fields[0], affine=own))
        names.append("affine")
    for name, displacement in found.items():
        fields.append(PhysicalField(displacement[0], grid, own).resampled_onto(pair.fixed.grid))
        names.append(name)
    images = [field.warp(moving, pair.moving.grid)[0] for field in fields]
    states = [_state(*each, fixed, pair) for each in zip(names, fields, images, strict=True)]
    notices = tuple(notice for notice in (told, also, _unknown(model)) if notice)
    return Registered(fields[-1], tuple(states), images[0], fixed, images[-1], notices)


def _affine(pair: Pair, wanted: bool, tell: Tell) -> np.ndarray | None:
    """4x4, RAS mm of the fixed image -> RAS mm of the moving one; None is the identity."""
    if wanted:
        return register_affine(pair.fixed, pair.moving, lambda done, total: tell("aligning", done, total))
    shared = overlap(pair.fixed.grid, pair.moving.grid, np.eye(4))
    _, inside = PhysicalField(torch.zeros(pair.fixed.grid.axes, *pair.fixed.grid.shape), pair.fixed.grid).warp(
        pair.moving.values, pair.moving.grid, "nearest"
    )
    if shared < LEAST_OVERLAP or not inside.any():
        raise InputError(
            f"{pair.moving.path} and {pair.fixed.path} share {100 * shared * bool(inside.any()):.0f} % of the smaller "
            "field of view; add --affine to align them first."
        )
    return None


def _own_axes(matrix: np.ndarray, grid: Geometry) -> np.ndarray:
    """A 4x4 affine for a grid in W dimensions: (W + 1, W + 1)."""
    kept = [*range(grid.world_axes), 3]
    return matrix[np.ix_(kept, kept)]


def _by_network(
    network: VoxelMorph,
    objective: Objective,
    images: list[Tensor],
    steps: int,
    device: torch.device | str,
    tell: Tell,
) -> dict[str, Tensor]:
    """The displacements (1, D, *grid) by name: ``network``, and ``refined`` where steps were asked for."""
    tell("registering", 0, 1)
    network = network.to(device).eval()
    moving, fixed = (image.to(device) for image in images)
    with torch.no_grad():
        found = {"network": network(moving, fixed).displacement.cpu()}
    tell("registering", 1, 1)
    if steps:
        refined: Refinement = refine(
            network,
            objective,
            moving,
            fixed,
            steps,
            report=lambda done, total, told: tell(f"refining: {told}", done, total),
        )
        found["refined"] = refined.registration.displacement.cpu()
    return found


def _state(name: str, field: PhysicalField, image: Tensor, fixed: Tensor, pair: Pair) -> State:
    # an affine changes every determinant by one factor, so neither folding nor SDlogJ
    regularity = jacobian_statistics(field.displacement[None])
    dice = None
    if pair.moving_labels is not None and pair.fixed_labels is not None:
        labels, _ = field.warp(pair.moving_labels.values, pair.moving_labels.grid, "nearest")
        truth = pair.fixed_labels.values
        there = torch.cat([labels.unique(), truth.unique()]).unique()
        values = {int(value): str(int(value)) for value in there if value > 0}
        dice = overlap_metrics(labels[None].long(), truth[None].long(), values, field.fixed.spacing, False)["dice"]
    return State(
        name,
        **similarity_metrics(image[None], fixed[None]),
        dice=dice,
        folding=float(regularity["nonpositive_percent"]),
        sdlogj=float(regularity["sdlogj"]),
    )


def _unknown(model: Trained) -> str:
    if model.settings is None:
        return f"{model.source} does not say how its training images were scaled; intensities are used as they are."
    if model.images.spacing is None:
        return f"{model.source} does not say on which voxels it was trained; the fixed image's own are used."
    return ""
