"""Register one image to another with a trained network: onto its grid, through it, and back into the world."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..networks import Objective, VoxelMorph, refine
from ..networks.displacement_network import check_finite
from ..transforms import Geometry, InputError, PhysicalField
from .evaluation.measured_pair import LabelMap, MeasuredPair
from .evaluation.vocabulary import METRICS
from .fields.apply import check_world
from .images.affine_alignment import LEAST_OVERLAP, register_affine
from .images.relative_position import in_voxels, overlap, resample
from .images.volumes import Volume
from .models.intensity_level import scaled
from .models.trained_model import Trained
from .settings.schema import TrialSettings
from .training.loop import build_objective

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps)."""


@dataclass(frozen=True)
class ImagePair:
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
                    f"{image.path} looks like a label map: integers, many of them like their neighbourhood; give "
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
class Agreement:
    """How well moving and fixed image agree at some point, on the fixed grid; intensities scaled as in training.

    ``measures`` are the main metrics by name, in their order: similarities, overlap with both label maps, smoothness.
    """

    name: str
    measures: Mapping[str, float]


@dataclass(frozen=True)
class Registered:
    """A registered pair."""

    field: PhysicalField
    """On the fixed grid; the affine, where there is one, is apart."""
    agreements: tuple[Agreement, ...]
    """Before, after the affine, by the network, refined: those that there are."""
    moving: Tensor
    """(1, *fixed) float32, scaled as in training, before registration; for pictures, as the next two."""
    fixed: Tensor
    warped: Tensor
    notices: tuple[str, ...]


def register(
    model: Trained,
    pair: ImagePair,
    affine: bool = False,
    steps: int = 0,
    objective: Objective | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Registered:
    """Register a pair of image files of any shape, spacing and orientation.

    Both images are brought onto a grid over the fixed image that has the axes and the spacing of the training images;
    the network's displacement is brought back onto the fixed image's own.

    Args:
        model: the network and what it was trained on.
        pair: the images.
        affine: align them first, see :func:`~smoothmorph.pipeline.images.affine_alignment.register_affine`.
        steps: of instance optimization, see :func:`~smoothmorph.networks.refine`.
        objective: of the instance optimization; None is that of the training.
        device: where the network runs.
        progress: told of progress.

    Raises:
        InputError: images that the model cannot register, that do not belong together or that do not overlap, or a
            displacement that is not finite.
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
    if settings.cohort.intensity == "none":
        moving, fixed, told = _in_units(model, pair, moving, fixed, fields.get("affine", fields["before"]))
        before, _ = fields["before"].warp(moving, pair.moving.grid)
    on_grid = (
        _on_grid(moving, pair.moving.grid, matrix @ grid.affine_4x4, grid),
        _on_grid(fixed, pair.fixed.grid, grid.affine_4x4, grid),
    )
    objective = objective or build_objective(settings)
    found = _by_network(model.network, objective, *on_grid, steps, device, progress)
    for name, displacement in found.items():
        fields[name] = PhysicalField(displacement[0], grid, own).resampled_onto(pair.fixed.grid)
        check_finite(fields[name].displacement, f"{model.source} ({name})")
    images = {name: before if name == "before" else f.warp(moving, pair.moving.grid)[0] for name, f in fields.items()}
    about = fixed, pair, objective.minimizes
    agreements = tuple(_agreement(name, field, images[name], *about) for name, field in fields.items())
    notices = tuple(notice for notice in (*told, _unknown(model)) if notice)
    last = agreements[-1].name
    return Registered(fields[last], agreements, before, fixed, images[last], notices)


def _in_units(
    model: Trained, pair: ImagePair, moving: Tensor, fixed: Tensor, overlay: PhysicalField
) -> tuple[Tensor, Tensor, list[str]]:
    """Both images (1, *own) in the units of the training images, and notices; ``overlay`` aligns them."""
    paths = pair.moving.path, pair.fixed.path
    told = [model.images.doubt(image, path) for image, path in zip((moving, fixed), paths, strict=True)]
    units = model.images.units(moving, fixed, *overlay.warp(moving, pair.moving.grid))
    if units is None:
        return moving, fixed, told
    of_each = ", ".join(f"{path} {own}" for path, own in zip(paths, units, strict=True))
    told.append(f"the network sees both images scaled to match the training images: {of_each}.")
    return units[0](moving), units[1](fixed), told


def _on_grid(image: Tensor, own: Geometry, to_world: np.ndarray, grid: Geometry) -> Tensor:
    """An image (1, *own) on a grid whose voxels ``to_world`` takes to where the image has them: (1, 1, *grid)."""
    matrix = in_voxels(np.linalg.inv(own.affine_4x4) @ to_world, grid.shape, whole=False)
    return resample(image, matrix, grid.shape, order=1)[None]


def _check_overlap(pair: ImagePair, inside: Tensor) -> None:
    """Raise InputError if the images hardly overlap as they lie; ``inside``: of slices, in their depth, too."""
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
    steps: int,
    device: torch.device | str,
    progress: Progress,
) -> dict[str, Tensor]:
    """The displacements (1, D, *grid) by name: ``network``, and ``refined`` where steps were asked for."""
    progress("registering", 0, 1)
    network = network.to(device).eval()
    moving, fixed = moving.to(device), fixed.to(device)
    with torch.no_grad():
        found = {"network": network(moving, fixed).displacement.cpu()}
    progress("registering", 1, 1)
    if steps:

        def tell(done: int, total: int, told: str) -> None:
            progress(f"refining: {told}", done, total)

        refined = refine(network, objective, moving, fixed, steps, report=tell)
        found["refined"] = refined.registration.displacement.cpu()
    return found


def _agreement(
    name: str, field: PhysicalField, image: Tensor, fixed: Tensor, pair: ImagePair, similarity: str
) -> Agreement:
    # an affine changes every determinant by one factor, so neither folding nor SDlogJ
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


def _unknown(model: Trained) -> str:
    if model.settings is None:
        return f"{model.source} does not say how its training images were scaled; intensities are used as they are."
    if model.images.spacing is None:
        return f"{model.source} does not say on which voxels it was trained; the fixed image's own are used."
    return ""
