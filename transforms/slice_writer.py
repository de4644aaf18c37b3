"""Write slices with their true place in space."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from monai.data.image_writer import NibabelWriter
from monai.data.utils import to_affine_nd


class SliceWriter(NibabelWriter):
    """MONAI's NIfTI writer for ``SaveImage(writer=...)``, but it keeps the place of every image, also of a slice.

    MONAI's own writer drops the third column of a slice's affine. That fails for a slice across the first or second
    axis.
    """

    def set_metadata(self, meta_dict: Mapping[Any, Any] | None, resample: bool = False, **options: Any) -> None:
        """Take the affine from ``meta_dict``; nothing is resampled."""
        _, affine, _ = self.get_meta_info(meta_dict)
        self.affine = to_affine_nd(3, np.asarray(affine, dtype=float))
        if self.data_obj.ndim == 2:
            self.data_obj = self.data_obj[..., None]
