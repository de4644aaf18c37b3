"""B-spline registration by elastix: normalized correlation and bending energy, from coarse to fine.

Klein et al., IEEE TMI 2010, "elastix: a toolbox for intensity-based medical image registration"; the bending energy is
that of Rueckert et al., IEEE TMI 1999, per mm².
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...transforms.field_files.lps import load_itk
from ..settings.vocabulary import METHODS, MethodEntry
from .without_training import Displace

if TYPE_CHECKING:
    from ..settings.schema import TrialSettings

LEVELS, ITERATIONS, SAMPLES = 4, 300, 3000
PARAMETERS: dict[str, tuple[str, ...]] = {
    "Registration": ("MultiMetricMultiResolutionRegistration",),
    "Metric": ("AdvancedNormalizedCorrelation", "TransformBendingEnergyPenalty"),
    "Metric0Weight": ("1",),
    "Transform": ("RecursiveBSplineTransform",),
    "NumberOfResolutions": (str(LEVELS),),
    "FixedImagePyramid": ("FixedSmoothingImagePyramid",),
    "MovingImagePyramid": ("MovingSmoothingImagePyramid",),
    "Optimizer": ("AdaptiveStochasticGradientDescent",),
    "AutomaticParameterEstimation": ("true",),
    "MaximumNumberOfIterations": (str(ITERATIONS),),
    # Two metrics on several threads end the process (https://github.com/InsightSoftwareConsortium/ITKElastix/issues/160).
    "UseMultiThreadingForMetrics": ("false",),
    "ImageSampler": ("RandomCoordinate",),
    "NumberOfSpatialSamples": (str(SAMPLES),),
    "NewSamplesEveryIteration": ("true",),
    "Interpolator": ("LinearInterpolator",),
    "Resampler": ("DefaultResampler",),
    "ResampleInterpolator": ("FinalLinearInterpolator",),
    "DefaultPixelValue": ("0",),
    "WriteResultImage": ("false",),
}

METHODS.add(
    MethodEntry(
        name="elastix",
        title="elastix",
        meaning="B-spline registration by elastix, which maximizes the correlation less the bending energy of each "
        "pair anew",
        source="Klein et al., IEEE TMI 2010",
        target=f"{__name__}:by_elastix",
        settings=("baseline.grid_spacing", "baseline.bending_weight", "seed"),
        how="B-spline without an affine part, {grid_spacing:g} voxels between its control points; normalized "
        "correlation, and {bending_weight:g} times the bending energy (per mm²); "
        f"{LEVELS} levels, each of {ITERATIONS} iterations of adaptive stochastic gradient descent on {SAMPLES} "
        "voxels; seed {seed}",
        package="itk-elastix",
        place=3,
    )
)


def by_elastix(settings: TrialSettings) -> Displace:
    """elastix with as many threads as torch has."""
    import torch

    load(settings.cohort.spatial_dims)
    own, threads = settings.baseline, torch.get_num_threads()
    return lambda moving, fixed, spacing: elastix(
        moving, fixed, spacing, own.grid_spacing, own.bending_weight, settings.seed, threads
    )


class Tools(NamedTuple):
    """ITK's classes for images of one number of axes."""

    registration: Any
    resampling: Any


@lru_cache(maxsize=2)
def load(dims: int) -> tuple[Any, Tools]:
    """ITK and what of it is needed, which takes some ten seconds to load."""
    itk = load_itk()
    itk.ParameterObject  # noqa: B018 (ITK loads on access)
    kind = itk.Image[itk.F, dims]
    return itk, Tools(itk.ElastixRegistrationMethod[kind, kind], itk.TransformixFilter[kind])


def elastix(
    moving: np.ndarray,
    fixed: np.ndarray,
    spacing: Sequence[float],
    grid_spacing: float,
    bending_weight: float,
    seed: int = 0,
    threads: int = 1,
) -> np.ndarray:
    """Register ``moving`` to ``fixed`` without an affine part, as a network does.

    Args:
        moving, fixed: (*spatial) float32, of one shape.
        spacing: mm per voxel.
        grid_spacing: voxels between the control points of the last level.
        bending_weight: of the bending energy, beside 1 for the negative correlation.
        seed: of the voxels that the optimizer looks at; the same seed and threads give the same bits.
        threads: of elastix.

    Returns:
        the displacement (D, *spatial) float32, in voxels of the fixed grid.

    Raises:
        RuntimeError: elastix gives up.
    """
    own = {"FinalGridSpacingInVoxels": grid_spacing, "Metric1Weight": bending_weight, "RandomSeed": seed}
    itk, tools = load(moving.ndim)
    parameters = itk.ParameterObject.New()
    parameters.AddParameterMap(PARAMETERS | {key: (f"{value:.10g}",) for key, value in own.items()})
    images = [itk.image_from_array(np.ascontiguousarray(image.T)) for image in (fixed, moving)]
    for image in images:
        image.SetSpacing([float(size) for size in spacing])
    registration = tools.registration.New(*images)
    registration.SetParameterObject(parameters)
    registration.SetNumberOfThreads(threads)
    registration.SetLogToConsole(False)
    registration.UpdateLargestPossibleRegion()
    resampling = tools.resampling.New()
    resampling.SetMovingImage(images[1])
    resampling.SetTransformParameterObject(registration.GetTransformParameterObject())
    resampling.SetLogToConsole(False)
    resampling.ComputeDeformationFieldOn()
    with TemporaryDirectory() as folder:  # it writes the field to a file, too, by default where the user stands
        resampling.SetOutputDirectory(folder)
        resampling.UpdateLargestPossibleRegion()
        millimetres = itk.array_from_image(resampling.GetOutputDeformationField())  # (*reversed spatial, D), x first
    return (millimetres / np.asarray(spacing, np.float32)).T.astype(np.float32)
