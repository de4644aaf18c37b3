"""One image file -> a tensor that has been checked. Every fault is one sentence with the file's path."""

import gzip
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data.image_reader import ITKReader, NibabelReader
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import affine_to_spacing, to_affine_nd
from monai.transforms.io.array import LoadImage
from monai.utils.misc import ensure_tuple
from torch import Tensor

from ..transforms.errors import InputError, reason, times
from ..transforms.field_files.lps import load_itk
from ..transforms.geometry import SAME_PLACE, corners_apart
from ..transforms.headers import check_data_file, check_gzip, check_place


class NiftiReader(NibabelReader):
    """MONAI's reader, but with the affine as it is in the file, and for real numbers only.

    MONAI replaces an sform by the qform, coded or not, where the voxel sizes beside them differ; of a complex image it
    drops the imaginary part.
    """

    def read(self, data: Any, **kwargs: Any) -> Any:
        (name,) = self.filenames = ensure_tuple(data)
        image = nib.load(name, **kwargs)
        check_place(image, Path(name))
        return image

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        dtype = img.get_data_dtype()
        if dtype.kind not in "iuf":
            raise ValueError(f"its voxels are {dtype}, expected real numbers; save the magnitude or one channel")
        return super().get_data(img)


class ItkReader(ITKReader):
    """MONAI's reader, but of one number per voxel only, and with a clear reason where a file cannot be read."""

    def read(self, data: Any, **kwargs: Any) -> Any:
        (name,) = ensure_tuple(data)
        if Path(name).is_dir():
            return super().read(data, **kwargs)
        check_data_file(Path(name))
        itk = load_itk()
        io = itk.ImageIOFactory.CreateImageIO(str(name), itk.CommonEnums.IOFileMode_ReadMode)
        if io is None:
            raise ValueError("it is not what its ending says")
        io.SetFileName(str(name))
        io.ReadImageInformation()
        if io.GetNumberOfComponents() != 1:
            raise ValueError(
                f"each of its voxels has {io.GetNumberOfComponents()} numbers, expected one; save a channel"
            )
        try:
            return super().read(data, **kwargs)
        except RuntimeError as error:  # though its header can be read
            said = reason(error)
            said = "its voxels cannot be read" if str(name) in said else said
            raise InputError(DAMAGED.format(path=name, reason=said)) from None


class DicomReader(ItkReader):
    """MONAI's reader, but of slices at equal distances only: ITK would place the others where they are not."""

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        metadata, name = img.GetMetaDataDictionary(), "ITK_non_uniform_sampling_deviation"
        spacing = float(list(img.GetSpacing())[-1])
        off = float(metadata[name]) if metadata.HasKey(name) else 0.0
        if off > UNEVEN * spacing:
            raise ValueError(f"the distances between its slices differ by up to {off:.3g} mm; is a slice missing?")
        return super().get_data(img)


READERS = {
    ".nii": NiftiReader,
    ".nii.gz": NiftiReader,
    ".mha": ItkReader,
    ".mhd": ItkReader,
    ".nrrd": ItkReader,
    ".dcm": DicomReader,
}
DAMAGED = "{path} is truncated or damaged ({reason}); copy or download it again."
UNEVEN = 0.01
"""Distances between slices may differ by this fraction."""
FEW = 1 << 20
"""Labels up to this value are counted, which is faster than to sort the voxels."""
LARGEST_VALUE = float(np.finfo(np.float32).max)


def read_image(path: Path, spatial_dims: int, labels: bool = False) -> tuple[Tensor, np.ndarray]:
    """Read a file with MONAI.

    Returns:
        (1, *spatial) float64, or int64 of a label map, trailing axes of length one dropped, and the 4x4 affine (voxel
        to mm).

    Raises:
        InputError: missing, unknown format, truncated or damaged, not of real numbers or of ``spatial_dims`` axes.
    """
    image, affine = load_file(path, labels)
    return _drop_singletons(image, spatial_dims, path)[None], to_affine_nd(3, affine)


def load_file(path: Path, labels: bool = False) -> tuple[Tensor, np.ndarray]:
    """All voxels of a file, or of a folder that holds one DICOM series, and where they lie.

    The reader is chosen by the file's name: trying every reader, as MONAI can, would try unpickling, too.

    Returns:
        float64, or int64 of a label map, axes as in the file, and the affine (voxel to RAS mm): 4x4, or 3x3 for a true
        2-D file of ITK's.

    Raises:
        InputError: missing, unknown format, truncated or damaged, not of real numbers; a folder of no or of several
            DICOM series.
    """
    suffix = next((suffix for suffix in READERS if path.name.lower().endswith(suffix)), None)
    if suffix is None and not path.is_dir():
        raise InputError(
            f"{path} is not one of the image formats that can be read: {', '.join(READERS)}, or the folder of a DICOM "
            "series."
        )
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    try:
        if suffix == ".nii.gz":
            check_gzip(path)
        reader = DicomReader(series_name=_series(path)) if path.is_dir() else READERS[suffix or ""]()
        loaded = _loader(labels)(path, reader=reader)
        assert isinstance(loaded, MetaTensor)
        values = as_integers(loaded.as_tensor(), str(path)) if labels else loaded.as_tensor()
        return values, np.asarray(loaded.affine, dtype=float)
    except InputError:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(DAMAGED.format(path=path, reason=reason(error))) from None
    except Exception as error:  # each format's library raises what it likes
        raise InputError(f"cannot read {path} as an image: {reason(error)}.") from None


def is_dicom(path: Path) -> bool:
    """Whether an image is a DICOM series, or one file of it."""
    return path.is_dir() or path.name.lower().endswith(".dcm")


def _series(folder: Path) -> str:
    """The one DICOM series of a folder."""
    names = load_itk().GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.AddSeriesRestriction("0008|0021")  # the series' date; both as MONAI's reader has it, which takes the name
    names.SetGlobalWarningDisplay(False)  # that a folder is empty is said below
    names.SetDirectory(str(folder))
    found = names.GetSeriesUIDs()
    names.SetGlobalWarningDisplay(True)
    if len(found) != 1:
        raise InputError(
            f"the folder {folder} holds {len(found) or 'no'} DICOM series; give an image file or a folder with one."
        )
    return found[0]


@lru_cache(maxsize=2)
def _loader(labels: bool) -> LoadImage:
    return LoadImage(image_only=True, dtype=None if labels else np.float64)


def _drop_singletons(image: Tensor, spatial_dims: int, path: Path) -> Tensor:
    shape = tuple(image.shape)
    while image.ndim > spatial_dims and image.shape[-1] == 1:
        image = image[..., 0]
    if image.ndim != spatial_dims or 0 in shape:
        raise InputError(f"{path} has {times(shape)} voxels, expected {spatial_dims} axes (cohort.spatial_dims).")
    return image


def check_finite(image: Tensor, source: str) -> tuple[float, float]:
    """The lowest and the highest value; InputError if the image holds NaN, infinity or what float32 cannot hold."""
    low, high = float(image.min()), float(image.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # NaN passes through min and max
        raise InputError(f"{source} holds NaN or infinite voxels; every voxel must be a finite number.")
    if max(-low, high) > LARGEST_VALUE:
        raise InputError(
            f"{source} holds {low if -low > high else high:g}, but values are computed in 32 bits, which end at "
            f"{LARGEST_VALUE:.3g}; scale its intensities down."
        )
    return low, high


def check_image(image: Tensor, source: str) -> None:
    """Raise InputError as :func:`check_finite`, or if the image holds one value only."""
    low, high = check_finite(image, source)
    if low == high:
        raise InputError(f"{source} is constant (every voxel is {low:g}); there is nothing to register.")


def as_integers(label: Tensor, source: str) -> Tensor:
    """A label map as int64; InputError unless every voxel is an integer."""
    faulty = label[~(torch.isfinite(label) & (label == label.round()))] if label.is_floating_point() else label[:0]
    if faulty.numel():
        raise InputError(f"{source} holds {float(faulty.flatten()[0]):g}; a label map holds integers only.")
    return label.long()


def check_label(label: Tensor, source: str, names: Mapping[int, str] | None = None) -> None:
    """Raise InputError unless the label map, of integers, holds those from 0 on that ``names`` knows (None: any)."""
    if int(label.min()) < 0:
        raise InputError(f"{source} holds label {int(label.min())}; labels lie from 0 on.")
    values = (label.unique() if int(label.max()) > FEW else torch.bincount(label.flatten()).nonzero()).flatten()
    unknown = sorted(set(values.tolist()) - {0} - set(names)) if names is not None else []
    if unknown:
        raise InputError(f"{source} holds label {unknown[0]}, which the cohort's list of label names does not have.")


def check_same_grid(
    shape: Iterable[int], affine: np.ndarray, label_shape: Iterable[int], label_affine: np.ndarray, source: str
) -> None:
    """Raise InputError unless two grids have one shape and place every corner within 0.1 voxel."""
    shape, label_shape = tuple(shape), tuple(label_shape)
    if shape != label_shape:
        raise InputError(f"{source} has {times(label_shape)} voxels, but its image has {times(shape)}.")
    apart = corners_apart(shape, affine, label_affine)
    if not apart <= SAME_PLACE * min(spacing_of(affine, len(shape), source)):
        raise InputError(f"{source} lies up to {apart:.3g} mm away from its image: their affines differ; resample it.")


def axes_of(affine: np.ndarray) -> str:
    """Where the axes of a 4x4 affine lead, as nibabel has it: "RAS"; empty where two of them are one."""
    axes = nib.aff2axcodes(affine)
    return "" if None in axes else "".join(axes)


def spacing_of(affine: np.ndarray, spatial_dims: int, source: str) -> tuple[float, ...]:
    """mm per voxel along the first axes of an affine.

    Raises:
        InputError: a spacing is zero or not finite.
    """
    spacing = np.asarray(affine_to_spacing(affine, suppress_zeros=False))[:spatial_dims]
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise InputError(f"{source} has voxel spacing {times(spacing)} mm; every spacing must be positive.")
    return tuple(float(f"{number:.6g}") for number in spacing)  # headers hold float32
