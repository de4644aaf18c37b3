"""The backbones that a study can name. Reading them loads neither torch nor MONAI."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple

from ...transforms.basics.errors import InputError
from ...transforms.basics.registry import Entry, Registry

if TYPE_CHECKING:
    from torch import Tensor, nn


class Integration(NamedTuple):
    """What becomes of a backbone's field: ``steps`` squarings (0: none), at 1/``downsize`` of the resolution.

    ``padding_mode`` is that of every warp, ``zeros`` or ``border``. Without squarings the resolution is the image's.
    """

    steps: int
    downsize: int
    padding_mode: str


@dataclass(frozen=True, kw_only=True)
class BackboneEntry(Entry):
    """A backbone: the target is the class of a module from (moving, fixed) to a field.

    The class takes ``spatial_dims``, ``integration`` (:class:`Integration`) and its options by their names, has the
    options, with their defaults, in the attribute ``options`` as plain values, and raises ValueError for others.

    An instance takes two images (B, 1, *spatial) of any size. It returns the field (B, D, *grid), a velocity, or a
    displacement where nothing is integrated, in voxels of its grid: the images' own, or the integration's. One whose
    field changes only its sign when the images are exchanged has an attribute ``symmetric`` that is true.

    Attributes:
        settings: the options that a study can give, by their names in its section ``model``.
        check: of those, a function by import path that raises ValueError, as the class does, without loading torch.
        usual: what the default options are called, for a reader.
        references: papers that a model card cites.
        part: what the backbone is called within the network; the names of its weights begin with it.
    """

    settings: tuple[str, ...] = ()
    check: str = ""
    usual: str = ""
    references: tuple[str, ...] = ()
    part: str = "backbone"

    def __call__(self, spatial_dims: int, integration: Integration, options: Mapping[str, Any]) -> "nn.Module":
        """The module, with new weights.

        Raises:
            TypeError, ValueError: options that it does not have.
        """
        return self.load()(spatial_dims=spatial_dims, integration=integration, **{**self.arguments, **options})

    def check_settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a study's settings that are not None.

        Raises:
            InputError: one that this backbone does not have.
        """
        options = {name: value for name, value in given.items() if value is not None}
        for name in options:
            if name not in self.settings:
                raise InputError(f"model.{name} is given, but the backbone {self.name} has none; leave it out")
        if self.check:
            try:
                replace(self, target=self.check).load()(**options)
            except ValueError as error:
                raise InputError(f"model.{error}") from None
        return options


def check_pair(name: str, spatial_dims: int, moving: "Tensor", fixed: "Tensor") -> None:
    """Raise ValueError unless two images are (B, 1, *spatial) of one shape, for what is called ``name``."""
    if moving.shape != fixed.shape or moving.ndim != spatial_dims + 2 or moving.shape[1] != 1:
        raise ValueError(
            f"a {spatial_dims}-D {name} takes moving and fixed images of one shape "
            f"(B, 1, {'H, W' if spatial_dims == 2 else 'H, W, L'}); "
            f"got moving {tuple(moving.shape)} and fixed {tuple(fixed.shape)}"
        )


def whole(value: Any, least: int, most: int) -> bool:
    """Whether ``value`` is a whole number within bounds; true and false are none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most


BACKBONES: Registry[BackboneEntry] = Registry(
    "backbone", "smoothmorph.backbones", package="smoothmorph.networks.backbones.entries"
)
