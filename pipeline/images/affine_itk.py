"""Rigid and affine registration by ITK, with images in mm along the axes of the fixed image.

The affine of an image may contain shears and flips. Here they belong to the position of the moving image, so the
transform that is optimized stays small.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...transforms import Geometry, InputError
from ...transforms.field_files.lps import load_itk
from .relative_position import frame
from .volumes import Volume

COARSEST, FEWEST = 8, 6
"""Downsampling factor of the coarsest level, and the minimum number of voxels per axis on it."""
POINTS = 100_000
"""Maximum number of voxels compared per level, which is enough for the twelve parameters of an affine map."""
BINS = 32


class Level(NamedTuple):
    """One resolution level of the optimization."""

    shrink: list[int]
    """Downsampling factor along each axis."""
    smoothing: float
    """Standard deviation of the Gaussian smoothing, mm."""
    share: float
    """Fraction of the level's voxels that are compared."""


def levels_of(fixed: Geometry) -> list[Level]:
    """The resolution levels, coarse to fine; the last is the full resolution."""
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
    """An ITK image in mm along its own axes. Outliers are clipped, or they would take most bins of the histogram.

    Raises:
        InputError: the image is constant.
    """
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
    """Set the position of the moving ITK image after the initial map ``start``, in mm along the fixed axes."""
    itk = load_itk()
    geometry = np.linalg.inv(start @ frame(fixed)) @ moving.affine_4x4
    axes = moving.axes
    image.SetOrigin([float(number) for number in geometry[:axes, 3]])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(geometry[:axes, :axes] / moving.spacing)))


def optimize(
    fixed: Any, moving: Any, affine: np.ndarray | None, levels: Sequence[Level]
) -> tuple[float, np.ndarray] | None:
    """Optimize a rigid transform that starts at the identity, or an affine one that starts at ``affine``.

    Args:
        fixed, moving: ITK images, see :func:`to_itk` and :func:`place`.
        affine: initial affine transform (D + 1, D + 1); None for a rigid transform.
        levels: the resolution levels.

    Returns:
        the final negative mutual information and the transform (D + 1, D + 1); None if the images stop overlapping.
    """
    itk = load_itk()
    kind, axes = type(fixed), fixed.GetImageDimension()
    transform = _transform(fixed, affine)
    metric = itk.MattesMutualInformationImageToImageMetricv4[kind, kind].New(NumberOfHistogramBins=BINS)
    metric.SetUseMovingImageGradientFilter(False)
    metric.SetUseFixedImageGradientFilter(False)
    metric.SetMaximumNumberOfWorkUnits(1)  # with several threads, sums depend on the number of threads
    scales = itk.RegistrationParameterScalesFromPhysicalShift[type(metric)].New(Metric=metric, TransformForward=True)
    optimizer = itk.RegularStepGradientDescentOptimizerv4[itk.D].New(
        ScalesEstimator=scales, NumberOfIterations=200, MinimumStepLength=1e-3, RelaxationFactor=0.5
    )
    optimizer.SetMaximumStepSizeInPhysicalUnits(min(fixed.GetSpacing()))
    optimizer.SetDoEstimateLearningRateOnce(False)
    optimizer.SetDoEstimateLearningRateAtEachIteration(True)  # so that no step exceeds the maximum
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
