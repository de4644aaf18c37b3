"""Registration of two image files by a trained network: resampling, network, refinement and what they reach."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ...networks import LEAST_GAIN, MOST_STEPS, Objective, VoxelMorph, refine
from ...networks.displacement_network import check_finite
from ...transforms import PhysicalField
from ..evaluation.limit import Limit
from ..evaluation.measured_pair import MeasuredPair
from ..evaluation.vocabulary import METRICS
from ..images.affine_alignment import register_affine
from ..lambda_search import within_limit
from ..models.intensity_level import scaled
from ..models.trained_model import Trained
from ..settings.intensities import INTENSITIES
from ..settings.schema import TrialSettings
from ..training.parts import build_objective
from .agreement import Agreement, agreement
from .image_pair import ImagePair
from .network_grid import NetworkGrid

Progress = Callable[[str, int, int], None]
"""Called with (current activity, steps done, total steps)."""


@dataclass(frozen=True)
class Registered:
    """The result of a registration."""

    field: PhysicalField
    """The field on the fixed grid; an affine is stored separately in it."""
    agreements: tuple[Agreement, ...]
    """The metrics before registration, after the affine (if any), after the network, and refined (if any)."""
    moving: Tensor
    """(1, *fixed) float32, scaled as in training, before registration. For pictures, like the next two."""
    fixed: Tensor
    warped: Tensor
    notices: tuple[str, ...]


def register(
    model: Trained,
    pair: ImagePair,
    affine: bool = False,
    steps: int | Literal["auto"] = 0,
    objective: Objective | Callable[[Trained], Objective] | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    limit: Limit | None = None,
) -> Registered:
    """Register a pair of image files of any shape, spacing and orientation.

    Both images are resampled onto a grid over the fixed image that has the axes and the spacing of the training images.
    The network's displacement is resampled back onto the grid of the fixed image.

    Args:
        model: the network with information about its training.
        pair: the images.
        affine: align the images first, see :func:`~smoothmorph.pipeline.images.affine_alignment.register_affine`.
        steps: steps of instance optimization, see :func:`~smoothmorph.networks.refine`; ``auto``: until the objective
            falls by no more than 0.5 % over 10 steps, at most 100.
        objective: objective of the instance optimization, or a function that makes it from the model at the λ that is
            used; None for that of the training.
        device: device of the network.
        progress: called with the progress so far.
        limit: the roughness that the network's field may have. The lowest λ that keeps it for this pair is then used,
            of a conditional network; see :func:`.lambda_search.within_limit`.

    Raises:
        InputError: the model cannot register these images, they do not belong together or do not overlap, the
            displacement is not finite, or no λ keeps the limit.
    """
    progress = progress or (lambda *_: None)
    pair.check(model.network.spatial_dims)
    model.images.check_extent(pair.moving)
    settings = model.settings or TrialSettings()
    moving, fixed = (scaled(image, settings.cohort.intensity) for image in (pair.moving, pair.fixed))
    fields = {"before": PhysicalField.identity(pair.fixed.grid)}
    before, inside = fields["before"].warp(moving, pair.moving.grid)
    grid = NetworkGrid(model.images.grid_over(pair.fixed), pair.fixed.grid)
    if affine:
        matrix = register_affine(pair.fixed, pair.moving, lambda done, total: progress("aligning", done, total))
        grid = replace(grid, affine=matrix)
        fields["affine"] = replace(fields["before"], affine=grid.affine_of_axes)
    else:
        pair.check_overlap(inside)
    told: list[str] = []
    if not INTENSITIES[settings.cohort.intensity].target:
        moving, fixed, told = _in_units(model, pair, moving, fixed, fields.get("affine", fields["before"]))
        before, _ = fields["before"].warp(moving, pair.moving.grid)
    on_grid = grid.of_moving(moving, pair.moving.grid), grid.of_fixed(fixed)
    if limit is not None:
        model, found_weight = within_limit(model, limit, _roughness(limit, on_grid, grid.field, device), progress)
        told.append(found_weight)
    if objective is None:
        objective = build_objective(model.settings or settings)
    elif not isinstance(objective, Objective):
        objective = objective(model)
    weight_map = None if pair.weights is None else grid.of_weights(pair.weights)
    found = _by_network(model.network, objective, *on_grid, steps, device, progress, weight_map)
    for name, displacement in found.items():
        fields[name] = grid.field(displacement)
        check_finite(fields[name].displacement, f"{model.source} ({name})")
    images = {name: before if name == "before" else f.warp(moving, pair.moving.grid)[0] for name, f in fields.items()}
    about = fixed, pair, objective.minimizes
    agreements = tuple(agreement(name, field, images[name], *about) for name, field in fields.items())
    notices = tuple(notice for notice in (*told, _unknown(model), pair.without_dice()) if notice)
    last = agreements[-1].name
    if limit is not None and (left := limit.exceeded_by(agreements[-1].measures[limit.metric])):
        notices += (f"after refinement, {left}; leave out --refine, or give a lower limit.",)
    return Registered(fields[last], agreements, before, fixed, images[last], notices)


def _in_units(
    model: Trained, pair: ImagePair, moving: Tensor, fixed: Tensor, overlay: PhysicalField
) -> tuple[Tensor, Tensor, list[str]]:
    """Convert both images (1, *own) to the intensity units of the training images; also return notices.

    ``overlay`` is the field that aligns the images so far.
    """
    paths = pair.moving.path, pair.fixed.path
    told = [model.images.doubt(image, path) for image, path in zip((moving, fixed), paths, strict=True)]
    units = model.images.units(moving, fixed, *overlay.warp(moving, pair.moving.grid))
    if units is None:
        return moving, fixed, told
    of_each = ", ".join(f"{path} {own}" for path, own in zip(paths, units, strict=True))
    told.append(f"the network gets both images scaled to match the training images: {of_each}.")
    return units[0](moving), units[1](fixed), told


def _by_network(
    network: VoxelMorph,
    objective: Objective,
    moving: Tensor,
    fixed: Tensor,
    steps: int | Literal["auto"],
    device: torch.device | str,
    progress: Progress,
    weight_map: Tensor | None,
) -> dict[str, Tensor]:
    """The displacements (1, D, *grid) by name: ``network``, and ``refined`` unless ``steps`` is 0."""
    progress("registering", 0, 1)
    network = network.to(device).eval()
    moving, fixed = moving.to(device), fixed.to(device)
    weight_map = None if weight_map is None else weight_map.to(device)
    with torch.no_grad():
        found = {"network": network(moving, fixed).displacement.cpu()}
    progress("registering", 1, 1)
    if steps:

        def tell(done: int, total: int, told: str) -> None:
            progress(f"refining: {told}", done, total)

        most, tolerance = (MOST_STEPS, LEAST_GAIN) if steps == "auto" else (steps, None)
        refined = refine(network, objective, moving, fixed, most, tell, weight_map, tolerance=tolerance)
        found["refined"] = refined.registration.displacement.cpu()
    return found


def _roughness(
    limit: Limit, pair: tuple[Tensor, Tensor], field_of: Callable[[Tensor], PhysicalField], device: torch.device | str
) -> Callable[[Trained], float]:
    """What measures the limited metric on the fixed grid, for the field that a model's network predicts."""

    def measure(model: Trained) -> float:
        moving, fixed = (image.to(device) for image in pair)
        with torch.no_grad():
            field = field_of(model.network.to(device).eval()(moving, fixed).displacement.cpu())
        return MeasuredPair(moving, fixed, field.displacement[None]).measure([METRICS[limit.metric]])[limit.metric]

    return measure


def _unknown(model: Trained) -> str:
    if model.settings is None:
        return f"{model.source} does not state how its training images were scaled; intensities are left unchanged."
    if model.images.spacing is None:
        return f"{model.source} does not state the voxel size of its training images; the fixed image's is used."
    return ""
