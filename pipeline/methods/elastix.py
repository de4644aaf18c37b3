"""Multi-resolution B-spline registration by elastix, with normalized correlation and bending energy.

Klein et al., IEEE TMI 2010, "elastix: a toolbox for intensity-based medical image registration". The bending energy,
per mm², is defined by Rueckert et al., IEEE TMI 1999.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...transforms.basics.options import Option
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
    # Two metrics on several threads crash (https://github.com/InsightSoftwareConsortium/ITKElastix/issues/160).
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
        meaning="B-spline registration by elastix; for each pair it maximizes the correlation minus the weighted "
        "bending energy",
        source="Klein et al., IEEE TMI 2010",
        target=f"{__name__}:by_elastix",
        options=(
            Option(
                name="grid_spacing",
                kind=float,
                least=1,
                default=6.0,
                meaning="distance of the control points on the finest level, in voxels",
                always_in_id=True,
            ),
            Option(
                name="bending_weight",
                kind=float,
                least=0,
                default=5.0,
                meaning="weight of the bending energy; the similarity has weight 1",
                always_in_id=True,
            ),
        ),
        settings=("seed",),
        how="B-spline without an affine step; control points every {grid_spacing:g} voxels; normalized correlation "
        "minus {bending_weight:g} times the bending energy (per mm²); "
        f"{LEVELS} resolution levels, each with {ITERATIONS} iterations of adaptive stochastic gradient descent on "
        f"{SAMPLES} random voxels; seed {{seed}}",
        package="itk-elastix",
        place=3,
    )
)


def by_elastix(settings: TrialSettings) -> Displace:
    """Registration by elastix, with torch's number of threads."""
    import torch

    load(settings.cohort.spatial_dims)
    own, threads = settings.baseline, torch.get_num_threads()
    return lambda moving, fixed, spacing: elastix(
        moving, fixed, spacing, own.grid_spacing, own.bending_weight, settings.seed, threads
    )


class Tools(NamedTuple):
    """ITK's classes for images with a given number of axes."""

    registration: Any
    resampling: Any


@lru_cache(maxsize=2)
def load(dims: int) -> tuple[Any, Tools]:
    """ITK and the classes needed from it. The first call takes about ten seconds."""
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
    """Register ``moving`` to ``fixed`` without an affine step, as networks do.

    Args:
        moving, fixed: (*spatial) float32, of the same shape.
        spacing: mm per voxel.
        grid_spacing: distance of the control points on the finest level, in voxels.
        bending_weight: weight of the bending energy; the negative correlation has weight 1.
        seed: random seed of the sampled voxels. The same seed and number of threads give the same bits.
        threads: number of threads.

    Returns:
        the displacement (D, *spatial) float32, in voxels of the fixed grid.

    Raises:
        RuntimeError: elastix fails.
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
    with TemporaryDirectory() as folder:  # it also writes the field to a file, by default in the working directory
        resampling.SetOutputDirectory(folder)
        resampling.UpdateLargestPossibleRegion()
        millimetres = itk.array_from_image(resampling.GetOutputDeformationField())  # (*reversed spatial, D), x first
    return (millimetres / np.asarray(spacing, np.float32)).T.astype(np.float32)
