"""Registration of two image files by a trained network, for images with any grid."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..networks import LEAST_GAIN, MOST_STEPS, Objective, VoxelMorph, refine
from ..networks.displacement_network import check_finite
from ..transforms import Geometry, InputError, PhysicalField
from .evaluation.limit import Limit
from .evaluation.measured_pair import LabelMap, MeasuredPair
from .evaluation.vocabulary import METRICS
from .fields.apply import check_world
from .images.affine_alignment import LEAST_OVERLAP, register_affine
from .images.reading import check_label
from .images.relative_position import check_planes, in_voxels, overlap, resample
from .images.volumes import Volume
from .lambda_search import within_limit
from .models.built_in import advice
from .models.intensity_level import scaled
from .models.trained_model import Trained
from .settings.intensities import INTENSITIES
from .settings.schema import TrialSettings
from .training.parts import build_objective

Progress = Callable[[str, int, int], None]
"""Called with (current activity, steps done, total steps)."""


@dataclass(frozen=True)
class ImagePair:
    """The two images to register, and if given their label maps and λ as a field.

    ``weights`` is a factor on the penalty of the instance optimization, for every voxel of the fixed image.
    """

    moving: Volume
    fixed: Volume
    moving_labels: Volume | None = None
    fixed_labels: Volume | None = None
    weights: Volume | None = None

    def check(self, dims: int) -> None:
        """Raise InputError unless images are images, the other maps match them, and all have ``dims`` axes."""
        for image in (self.moving, self.fixed):
            if image.looks_like_labels:
                raise InputError(
                    f"{image.path} looks like a label map, as it holds integers and many equal those nearby; give "
                    "the image itself (to warp a label map, too, use --moving-labels)."
                )
            if image.grid.axes != dims:
                raise InputError(
                    f"the model is for {dims}-D images, but {image.path} is {image.grid.axes}-D; "
                    f"{advice(image.grid.axes)}."
                )
        check_world(self.moving.path, self.moving.grid, self.fixed.path, self.fixed.grid)
        for labels, image in ((self.moving_labels, self.moving), (self.fixed_labels, self.fixed)):
            if labels is None:
                continue
            check_label(labels.values, str(labels.path))
            if not labels.grid.is_same(image.grid):
                raise InputError(
                    f"{labels.path} lies on another grid than its image {image.path}: {labels.grid}, expected "
                    f"{image.grid}; resample the label map."
                )
        if self.weights is not None:
            _check_weights(self.weights, self.fixed)


def _check_weights(weights: Volume, fixed: Volume) -> None:
    if not weights.grid.is_same(fixed.grid):
        raise InputError(
            f"the weight map {weights.path} lies on another grid than the fixed image {fixed.path}: {weights.grid}, "
            f"expected {fixed.grid}; resample it onto this image."
        )
    if (least := float(weights.values.min())) < 0:
        raise InputError(f"the weight map {weights.path} has the value {least:g}, expected 0 or more everywhere.")


@dataclass(frozen=True)
class Agreement:
    """The metrics after one stage of the registration, on the fixed grid, with intensities scaled as in training.

    ``name`` is the stage. ``measures`` are the main metrics by name, in order: similarities, overlap if both label maps
    are given, smoothness.
    """

    name: str
    measures: Mapping[str, float]


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
    grid = model.images.grid_over(pair.fixed)
    settings = model.settings or TrialSettings()
    moving, fixed = (scaled(image, settings.cohort.intensity) for image in (pair.moving, pair.fixed))
    fields = {"before": PhysicalField.identity(pair.fixed.grid)}
    before, inside = fields["before"].warp(moving, pair.moving.grid)
    matrix, own = np.eye(4), None
    if affine:
        matrix = register_affine(pair.fixed, pair.moving, lambda done, total: progress("aligning", done, total))
        own = matrix[np.ix_(kept := [*range(grid.world_axes), 3], kept)]
        fields["affine"] = replace(fields["before"], affine=own)
    else:
        _check_overlap(pair, inside)
    told: list[str] = []
    if not INTENSITIES[settings.cohort.intensity].target:
        moving, fixed, told = _in_units(model, pair, moving, fixed, fields.get("affine", fields["before"]))
        before, _ = fields["before"].warp(moving, pair.moving.grid)
    on_grid = (
        _on_grid(moving, pair.moving.grid, matrix @ grid.affine_4x4, grid),
        _on_grid(fixed, pair.fixed.grid, grid.affine_4x4, grid),
    )

    def field_of(displacement: Tensor) -> PhysicalField:
        return PhysicalField(displacement[0], grid, own).resampled_onto(pair.fixed.grid)

    if limit is not None:
        model, found_weight = within_limit(model, limit, _roughness(limit, on_grid, field_of, device), progress)
        told.append(found_weight)
    if objective is None:
        objective = build_objective(model.settings or settings)
    elif not isinstance(objective, Objective):
        objective = objective(model)
    weight_map = None if pair.weights is None else _weight_map(pair.weights, grid)
    found = _by_network(model.network, objective, *on_grid, steps, device, progress, weight_map)
    for name, displacement in found.items():
        fields[name] = field_of(displacement)
        check_finite(fields[name].displacement, f"{model.source} ({name})")
    images = {name: before if name == "before" else f.warp(moving, pair.moving.grid)[0] for name, f in fields.items()}
    about = fixed, pair, objective.minimizes
    agreements = tuple(_agreement(name, field, images[name], *about) for name, field in fields.items())
    notices = tuple(notice for notice in (*told, _unknown(model), _without_dice(pair)) if notice)
    last = agreements[-1].name
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


def _on_grid(image: Tensor, own: Geometry, to_world: np.ndarray, grid: Geometry) -> Tensor:
    """An image (1, *own) resampled on ``grid``, whose voxels ``to_world`` maps to the image's world: (1, 1, *grid)."""
    matrix = in_voxels(np.linalg.inv(own.affine_4x4) @ to_world, grid.shape, whole=False)
    return resample(image, matrix, grid.shape, order=1)[None]


def _weight_map(weights: Volume, grid: Geometry) -> Tensor:
    """The weights on the network's grid, (1, 1, *grid); 1 outside of the fixed image."""
    return 1 + _on_grid(weights.values.float() - 1, weights.grid, grid.affine_4x4, grid).clamp_min(-1)


def _check_overlap(pair: ImagePair, inside: Tensor) -> None:
    """Raise InputError if the images hardly overlap or are slices of different planes.

    ``inside`` is empty if two slices lie at different depths.
    """
    check_planes(pair.fixed, pair.moving)
    shared = overlap(pair.fixed.grid, pair.moving.grid, np.eye(4)) * bool(inside.any())
    if shared < LEAST_OVERLAP:
        raise InputError(
            f"{pair.moving.path} and {pair.fixed.path} share {100 * shared:.0f} % of the smaller field of view; add "
            "--affine to align them first."
        )


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


def _agreement(
    name: str, field: PhysicalField, image: Tensor, fixed: Tensor, pair: ImagePair, similarity: str
) -> Agreement:
    # an affine multiplies all determinants by one factor, so it changes neither folding nor SDlogJ
    labels, spacing = None, field.fixed.spacing
    if pair.moving_labels is not None and pair.fixed_labels is not None:
        warped, _ = field.warp(pair.moving_labels.values, pair.moving_labels.grid, "nearest")
        truth = pair.fixed_labels.values
        there = torch.cat([warped.unique(), truth.unique()]).unique()
        names = {int(value): str(int(value)) for value in there if value > 0}
        labels = LabelMap(warped[None].long(), names, spacing), LabelMap(truth[None].long(), names, spacing)
    measured = MeasuredPair(image[None], fixed[None], field.displacement[None], labels=labels, spacing=spacing)
    main = [m for m in METRICS.measured(similarity, slow=False) if m.main and m.interval]
    row = measured.measure(main)
    return Agreement(name, {metric.name: row[metric.name] for metric in main if metric.name in row})


def _without_dice(pair: ImagePair) -> str:
    """Why label maps cannot tell an agreement; empty if they can, or there are none."""
    if pair.moving_labels is None or pair.fixed_labels is None:
        return ""
    maps = pair.moving_labels, pair.fixed_labels
    moving, fixed = ({int(value) for value in labels.values.unique() if value > 0} for labels in maps)
    if moving and fixed:
        shared = moving & fixed
        return "" if shared else f"{maps[0].path} and {maps[1].path} share no label, so Dice is 0."
    return f"{maps[0].path if not moving else maps[1].path} holds no label above 0, so Dice says nothing."


def _unknown(model: Trained) -> str:
    if model.settings is None:
        return f"{model.source} does not state how its training images were scaled; intensities are left unchanged."
    if model.images.spacing is None:
        return f"{model.source} does not state the voxel size of its training images; the fixed image's is used."
    return ""
