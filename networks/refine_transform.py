"""Instance optimization as a MONAI transform: it fine-tunes the field of one pair, from a network or from nothing."""

from collections.abc import Hashable, Mapping
from typing import Any, Literal

import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, Transform
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor

from ..transforms.basics.metadata import TORCH
from ..transforms.fields.warping import Padding
from .field_model import FieldModel, Registration
from .objective.objective import Objective
from .objective.vocabulary import PENALTIES, SIMILARITIES
from .refinement import refine_field


class RefineRegistration(Transform):
    """Minimizes similarity + λ · penalty of one pair by L-BFGS on its field, see :func:`refine_field`.

    Args:
        similarity, penalty, weight, acts_on, multiplier: arguments of :class:`Objective`, usually the training's.
        steps: number of optimization steps; 0 only warps.
        integration_steps: 0: the field is a displacement. Otherwise it is a stationary velocity, integrated in this
            many squarings; the result then cannot fold, except by discretization error.
        padding_mode: padding of warp and integration, ``zeros`` (as in VoxelMorph) or ``border``.

    Raises:
        InputError: no similarity or penalty has this name.
        ValueError: ``steps`` is below 0, or as :class:`Objective` and :class:`.FieldModel`.
    """

    backend = TORCH

    def __init__(
        self,
        similarity: str = "mse",
        penalty: str = "l2",
        weight: float = 0.01,
        steps: int = 50,
        integration_steps: int = 0,
        padding_mode: Padding = "zeros",
        acts_on: Literal["velocity", "displacement"] = "velocity",
        multiplier: float = 1.0,
    ) -> None:
        if steps < 0:
            raise ValueError(f"steps must be 0 or more, got {steps}")
        self.objective: dict[str, Any] = {
            "similarity": SIMILARITIES.check(similarity),
            "penalty": PENALTIES.check(penalty),
            "weight": weight,
            "acts_on": acts_on,
            "multiplier": multiplier,
        }
        self.steps, self.integration_steps = steps, integration_steps
        self.padding_mode: Padding = padding_mode
        FieldModel(integration_steps, 1, padding_mode)  # both refuse bad arguments
        Objective(2, **self.objective)

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        moving: NdarrayOrTensor,
        fixed: NdarrayOrTensor,
        field: NdarrayOrTensor | None = None,
        weight_map: NdarrayOrTensor | None = None,
    ) -> Registration:
        """Return the best registration found; it is never worse than that of ``field``.

        Args:
            moving, fixed: images (1, *spatial), scaled as for a network. The device of ``fixed`` computes.
            field: the field to start from, (D, *spatial) in voxels; a velocity may also lie on the half-resolution
                grid. None starts at the identity.
            weight_map: (1, *spatial), a factor on the penalty for every voxel of ``fixed``: λ as a field. None: 1.

        Returns:
            ``warped`` (1, *spatial) and ``displacement`` (D, *spatial) in voxels, both with the metadata of the fixed
            image, and ``velocity`` (D, *grid) in voxels of its own grid. Without integration, the velocity is the
            displacement. If the objective is on both directions, also the ``inverse_displacement``, with the metadata
            of the moving image.

        Raises:
            ValueError: the shapes of images, field and weight map do not match.
        """
        first, second = (convert_to_tensor(image, dtype=torch.float32, track_meta=False) for image in (moving, fixed))
        if first.shape != second.shape or second.ndim not in (3, 4) or len(second) != 1:
            raise ValueError(
                f"moving and fixed must have the same shape (1, *spatial), got {tuple(first.shape)} and "
                f"{tuple(second.shape)}"
            )
        start = None if field is None else convert_to_tensor(field, dtype=torch.float32, track_meta=False)
        dims, size = second.ndim - 1, second.shape[1:]
        grids = [tuple(size), tuple(max(length // 2, 1) for length in size)][: 2 if self.integration_steps else 1]
        start = second.new_zeros(dims, *size) if start is None else start.to(second.device)
        if start.shape[0] != dims or tuple(start.shape[1:]) not in grids:
            raise ValueError(
                f"the field must have a shape of {[(dims, *grid) for grid in grids]}, got {tuple(start.shape)}"
            )
        objective = Objective(dims, **self.objective).to(second.device)
        pair = first.to(second.device)[None], second[None]
        weights = None
        if weight_map is not None:
            weights = convert_to_tensor(weight_map, dtype=torch.float32, track_meta=False).to(second.device)[None]
        options: Any = {"steps": self.steps, "weight_map": weights}
        model = FieldModel(self.integration_steps, 1 if start.shape[1:] == size else 2, self.padding_mode)
        found = refine_field(model.register_with, start[None], objective, *pair, **options).registration
        warped, displacement = (_like(part[0], fixed) for part in (found.warped, found.displacement))
        inverse = None if found.inverse_displacement is None else _like(found.inverse_displacement[0], moving)
        return Registration(warped, displacement, found.velocity[0], inverse)

    def __repr__(self) -> str:
        own = {name: value for name, value in vars(self).items() if name != "objective"}
        arguments = ", ".join(f"{name}={value!r}" for name, value in (self.objective | own).items())
        return f"{type(self).__name__}({arguments})"


class RefineRegistrationd(MapTransform):
    """Dictionary-based version of :class:`RefineRegistration`.

    Args:
        keys: the keys of the moving and of the fixed image.
        field_key: the key of the field to start from; None, or a sample without it, starts at the identity.
        warped_key, displacement_key: the keys to store the warped image and the displacement under.
        velocity_key: the key to store the velocity under; None does not store it.
        weight_map_key: the key of the weight map; None, or a sample without it, has the same λ everywhere.
        options: arguments of :class:`RefineRegistration`: ``similarity``, ``penalty``, ``weight``, ``steps``,
            ``integration_steps``, ``padding_mode``, ``acts_on``, ``multiplier``.
        allow_missing_keys: return a sample unchanged if one of its images is missing.

    Raises:
        InputError: no similarity or penalty has this name.
        ValueError: ``keys`` are not two, or as :class:`RefineRegistration`.
    """

    backend = RefineRegistration.backend

    def __init__(
        self,
        keys: KeysCollection = ("moving", "fixed"),
        field_key: str | None = "displacement",
        warped_key: str = "warped",
        displacement_key: str = "displacement",
        velocity_key: str | None = None,
        weight_map_key: str | None = None,
        allow_missing_keys: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 2:
            raise ValueError(f"two keys are needed, for the moving and the fixed image, got {self.keys}")
        self.field_key, self.warped_key, self.displacement_key = field_key, warped_key, displacement_key
        self.velocity_key, self.weight_map_key = velocity_key, weight_map_key
        self.refine = RefineRegistration(**options)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, Any]:
        d: dict[Hashable, Any] = dict(data)
        if len([*self.key_iterator(d)]) < 2:
            return d
        moving, fixed = (d[key] for key in self.keys)
        found = self.refine(moving, fixed, d.get(self.field_key), d.get(self.weight_map_key))
        d[self.warped_key], d[self.displacement_key] = found.warped, found.displacement
        if self.velocity_key is not None:
            d[self.velocity_key] = found.velocity
        return d


def _like(part: Tensor, image: NdarrayOrTensor) -> Tensor:
    """Return ``part``, an image or field on the grid of ``image``, with its metadata."""
    if not (get_track_meta() and isinstance(image, MetaTensor)):
        return part
    return MetaTensor(part, meta=dict(image.meta))  # the metadata include the affine


RefineRegistrationD = RefineRegistrationDict = RefineRegistrationd
