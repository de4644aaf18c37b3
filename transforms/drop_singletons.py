"""Turn a slice that is stored as a one-slice volume into a 2-D image."""

from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import Transform
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor

from .basics.metadata import TORCH, EachKeyd, described

SHAPE = "spatial_shape"
"""MONAI's metadata key of the image size."""


class DropSingletons(Transform):
    """Drops trailing axes of length one, so that a slice stored as a one-slice volume becomes a 2-D image.

    The affine stays that of the volume, so the slice keeps its place in space. MONAI's ``SqueezeDim`` drops a column
    and a row, which leaves no valid affine for some slices, and it refuses an image without such an axis.

    Args:
        spatial_dims: D, 2 or 3.
    """

    backend = TORCH

    def __init__(self, spatial_dims: int) -> None:
        self.spatial_dims = spatial_dims

    def __call__(self, img: NdarrayOrTensor) -> Tensor:
        """Return the image (C, *spatial) of ``img`` (C, *spatial, 1, ...).

        Raises:
            ValueError: the image has another number of axes.
        """
        image = convert_to_tensor(img, track_meta=get_track_meta())
        shape = (*image.shape[: self.spatial_dims + 1], *[1] * (image.ndim - self.spatial_dims - 1))
        if image.ndim <= self.spatial_dims or tuple(image.shape) != shape:
            raise ValueError(f"{described('this image', image)} is not {self.spatial_dims}-D")
        image = image.reshape(shape[: self.spatial_dims + 1])
        if isinstance(image, MetaTensor):
            image.meta = {**image.meta, SHAPE: list(image.shape[1:])}
        return image


class DropSingletonsd(EachKeyd):
    """Dictionary-based version of :class:`DropSingletons`.

    Args:
        keys: keys of images (C, *spatial, 1, ...).
        spatial_dims: D, 2 or 3.
        allow_missing_keys: skip keys that a sample lacks.
    """

    backend = DropSingletons.backend

    def __init__(self, keys: KeysCollection, spatial_dims: int, allow_missing_keys: bool = False) -> None:
        super().__init__(DropSingletons(spatial_dims), keys, allow_missing_keys=allow_missing_keys)


DropSingletonsD = DropSingletonsDict = DropSingletonsd
