"""Write displacement fields to files for ITK, ANTs and Slicer."""

from pathlib import Path

import numpy as np
from monai.config.type_definitions import KeysCollection
from monai.data.folder_layout import FolderLayout
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import Transform
from torch import Tensor

from .basics.metadata import FILE, TORCH, EachKeyd
from .field_files import write_field
from .world.grid import Geometry
from .world.physical_field import PhysicalField


class SaveField(Transform):
    """Writes a displacement field (mm, LPS) and returns it unchanged, as MONAI's ``SaveImage`` does with an image.

    Args:
        output_dir: the folder. As with ``SaveImage``, files are named after the image in the field's metadata.
        output_postfix: text between that name and the ending.
        output_ext: ``.nii``, ``.nii.gz``, ``.mha``, ``.nrrd``, ``.h5`` or ``.npz``.
        separate_folder: write each field to its own folder.
    """

    backend = TORCH

    def __init__(
        self,
        output_dir: str | Path = "./",
        output_postfix: str = "displacement",
        output_ext: str = ".nii.gz",
        separate_folder: bool = True,
    ) -> None:
        self.layout = FolderLayout(str(output_dir), output_postfix, output_ext, separate_folder, makedirs=True)
        self.written = 0

    def __call__(self, displacement: MetaTensor) -> MetaTensor:
        """Write ``displacement`` (D, *spatial), in voxels of the grid of its affine (voxels to RAS mm).

        Raises:
            InputError: the format cannot hold the field, or the folder cannot be written.
            ValueError: the affine belongs to another number of axes.
        """
        affine = np.asarray(displacement.affine, dtype=float)
        axes = displacement.ndim - 1
        if len(affine) - 1 not in (axes, 3):
            raise ValueError(f"a displacement {tuple(displacement.shape)} cannot have an affine {affine.shape}")
        name = displacement.meta.get(FILE)
        if not name:
            name, self.written = f"{self.written}", self.written + 1
        plain: Tensor = displacement.as_tensor()
        grid = Geometry(tuple(displacement.shape[1:]), affine)
        write_field(Path(self.layout.filename(subject=str(name))), PhysicalField(plain, grid))
        return displacement


class SaveFieldd(EachKeyd):
    """Dictionary-based version of :class:`SaveField`.

    Args:
        keys: keys of displacements (D, *spatial) in voxels.
        output_dir, output_postfix, output_ext, separate_folder: see :class:`SaveField`.
        allow_missing_keys: skip keys that a sample lacks.
    """

    backend = SaveField.backend

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path = "./",
        output_postfix: str = "displacement",
        output_ext: str = ".nii.gz",
        separate_folder: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        save = SaveField(output_dir, output_postfix, output_ext, separate_folder)
        super().__init__(save, keys, allow_missing_keys=allow_missing_keys)


SaveFieldD = SaveFieldDict = SaveFieldd
