"""Rigid and affine registration by ITK's framework, of images in mm along the axes of the fixed one.

An affine may hold shears and flips; here they are a part of where the moving image lies, and the transforms that are
searched for are small.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...transforms import Geometry, InputError
from ...transforms.field_files.lps import load_itk
from .relative_position import frame
from .volumes import Volume

COARSEST, FEWEST = 8, 6
"""The factor by which the first level is coarser, and the voxels that every axis keeps on it."""
POINTS = 100_000
"""At most so many voxels of a level are compared: an affine map has twelve parameters."""
BINS = 32


class Level(NamedTuple):
    """One resolution of the search."""

    shrink: list[int]
    """Factor along each axis."""
    smoothing: float
    """Standard deviation, mm."""
    share: float
    """Of the voxels that are left, those that are compared."""


def levels_of(fixed: Geometry) -> list[Level]:
    """From coarse to fine, down to the voxels themselves."""
    finest = min(fixed.spacing)
    levels: list[Level] = []
    factor = COARSEST
    while factor >= 1:
        shrink = [
            max(1, min(round(factor * finest / spacing), length // FEWEST))
            for spacing, length in zip(fixed.spacing, fixed.shape, strict=True)
        ]
        voxels = np.prod([length // by for length, by in zip(fixed.shape, shrink, strict=True)])
        level = Level(shrink, factor / 2 * finest if max(shrink) > 1 else 0.0, min(1.0, POINTS / float(voxels)))
        if not levels or shrink != levels[-1].shrink:
            levels.append(level)
        factor //= 2
    return levels


def to_itk(volume: Volume) -> Any:
    """An ITK image in mm along its own axes; outliers are clipped, so that they do not take the histogram's bins."""
    itk = load_itk()
    image = volume.values[0].double().numpy()
    low, high = np.quantile(image, [0.005, 0.995])
    if low == high:
        low, high = image.min(), image.max()
    if low == high:
        raise InputError(f"{volume.path} is constant (every voxel is {low:g}); there is nothing to align.")
    scaled = ((image - low) / (high - low)).clip(0, 1)
    result = itk.image_from_array(np.ascontiguousarray(scaled.T, dtype=np.float32))  # ITK's arrays are k, j, i
    result.SetSpacing([float(spacing) for spacing in volume.grid.spacing])
    return result


def place(image: Any, fixed: Geometry, moving: Geometry, start: np.ndarray) -> None:
    """Put the moving ITK image where a start takes it, in mm along the axes of the fixed one."""
    itk = load_itk()
    geometry = np.linalg.inv(start @ frame(fixed)) @ moving.affine_4x4
    axes = moving.axes
    image.SetOrigin([float(number) for number in geometry[:axes, 3]])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(geometry[:axes, :axes] / moving.spacing)))


def optimize(
    fixed: Any, moving: Any, affine: np.ndarray | None, levels: Sequence[Level]
) -> tuple[float, np.ndarray] | None:
    """A rigid transform from the identity on, or an affine one from ``affine`` (D + 1, D + 1) on.

    Returns:
        The negative mutual information at the end and the transform (D + 1, D + 1); None where the images stop
        overlapping.
    """
    itk = load_itk()
    kind, axes = type(fixed), fixed.GetImageDimension()
    transform = _transform(fixed, affine)
    metric = itk.MattesMutualInformationImageToImageMetricv4[kind, kind].New(NumberOfHistogramBins=BINS)
    metric.SetUseMovingImageGradientFilter(False)
    metric.SetUseFixedImageGradientFilter(False)
    metric.SetMaximumNumberOfWorkUnits(1)  # sums of several threads depend on their number
    scales = itk.RegistrationParameterScalesFromPhysicalShift[type(metric)].New(Metric=metric, TransformForward=True)
    optimizer = itk.RegularStepGradientDescentOptimizerv4[itk.D].New(
        ScalesEstimator=scales, NumberOfIterations=200, MinimumStepLength=1e-3, RelaxationFactor=0.5
    )
    optimizer.SetMaximumStepSizeInPhysicalUnits(min(fixed.GetSpacing()))
    optimizer.SetDoEstimateLearningRateOnce(False)
    optimizer.SetDoEstimateLearningRateAtEachIteration(True)  # so that no step is longer than that
    optimizer.SetReturnBestParametersAndValue(True)
    method = itk.ImageRegistrationMethodv4[kind, kind].New(
        FixedImage=fixed, MovingImage=moving, Metric=metric, Optimizer=optimizer, InitialTransform=transform
    )
    method.InPlaceOn()
    method.SetNumberOfLevels(len(levels))
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
    method.SetSmoothingSigmasPerLevel([level.smoothing for level in levels])
    for number, level in enumerate(levels):
        method.SetShrinkFactorsPerDimension(number, level.shrink)
    if any(level.share < 1 for level in levels):
        method.SetMetricSamplingStrategy(itk.ImageRegistrationMethodv4Enums.MetricSamplingStrategy_REGULAR)
        method.SetMetricSamplingPercentagePerLevel([level.share for level in levels])
        method.MetricSamplingReinitializeSeed(0)
    try:
        method.Update()
    except RuntimeError:  # "all samples map outside moving image buffer"
        return None
    matrix = np.eye(axes + 1)
    matrix[:axes, :axes] = itk.array_from_matrix(transform.GetMatrix())
    matrix[:axes, axes] = list(transform.GetOffset())
    return float(optimizer.GetValue()), matrix


def _transform(fixed: Any, affine: np.ndarray | None) -> Any:
    itk = load_itk()
    axes = fixed.GetImageDimension()
    size = fixed.GetLargestPossibleRegion().GetSize()
    centre = [(size[axis] - 1) / 2 * fixed.GetSpacing()[axis] for axis in range(axes)]
    if affine is None:
        transform = (itk.Euler2DTransform if axes == 2 else itk.Euler3DTransform)[itk.D].New()
        transform.SetCenter(centre)
        return transform
    transform = itk.AffineTransform[itk.D, axes].New()
    transform.SetCenter(centre)
    transform.SetMatrix(itk.matrix_from_array(np.ascontiguousarray(affine[:axes, :axes])))
    transform.SetOffset([float(offset) for offset in affine[:axes, axes]])
    return transform
