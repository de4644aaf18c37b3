"""The registry of backbones. Reading it loads neither torch nor MONAI."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple

from ...transforms.basics.bounds import MOST_CHANNELS
from ...transforms.basics.errors import InputError
from ...transforms.basics.options import EntryWithOptions, RegistryWithOptions
from ...transforms.basics.options import Option as Option

if TYPE_CHECKING:
    from torch import Tensor, nn


class Integration(NamedTuple):
    """How the network integrates the backbone's field: ``steps`` squarings at 1/``downsize`` of the image resolution.

    With 0 steps the field is a displacement at the image's resolution. ``padding_mode`` is ``zeros`` or ``border`` and
    holds for every warp.
    """

    steps: int
    downsize: int
    padding_mode: str


@dataclass(frozen=True, kw_only=True)
class BackboneEntry(EntryWithOptions):
    """The registry entry of a backbone: ``target`` is a module class that predicts a field from (moving, fixed).

    The class takes the keyword arguments ``spatial_dims``, ``integration`` (:class:`Integration`) and its own options.
    It raises ValueError for bad options. Its attribute ``options`` holds all options, also defaults, as plain values.

    An instance takes two images (B, 1, *spatial) of any size. It returns a field (B, D, *grid) in voxels of its grid,
    which is the images' grid or the grid of the integration. The field is a velocity, or a displacement if there is no
    integration. If swapping the images changes only the sign of the field, the instance has a true attribute
    ``symmetric``.

    Attributes:
        options: what a study can set in its section ``model``, for this backbone.
        check: import path of a function that checks these options. It raises ValueError and loads no torch.
        usual: a phrase for the default options, used in texts.
        references: papers that a model card cites.
        part: name of the backbone's submodule in the network; the names of its weights begin with it.
        free: names of options that change how the weights are used, but neither their shapes nor what they mean. A
            training can start from a network that has other values of these.
    """

    check: str = ""
    usual: str = ""
    references: tuple[str, ...] = ()
    part: str = "backbone"
    free: tuple[str, ...] = ()

    def __call__(self, spatial_dims: int, integration: Integration, options: Mapping[str, Any]) -> "nn.Module":
        """Return the module with newly initialized weights.

        Raises:
            TypeError, ValueError: an option is unknown or out of bounds.
        """
        return self.load()(spatial_dims=spatial_dims, integration=integration, **{**self.arguments, **options})

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Check the options that a study gives.

        Raises:
            InputError: a value is bad.
        """
        if self.check:
            try:
                replace(self, target=self.check).load()(**options)
            except ValueError as error:
                raise InputError(f"model.{error}") from None


def check_pair(name: str, spatial_dims: int, moving: "Tensor", fixed: "Tensor") -> None:
    """Raise ValueError unless both images have the same shape (B, 1, *spatial); ``name`` is the network's."""
    if moving.shape != fixed.shape or moving.ndim != spatial_dims + 2 or moving.shape[1] != 1:
        raise ValueError(
            f"a {spatial_dims}-D {name} takes moving and fixed images of the same shape "
            f"(B, 1, {'H, W' if spatial_dims == 2 else 'H, W, L'}); "
            f"got moving {tuple(moving.shape)} and fixed {tuple(fixed.shape)}"
        )


def channel_numbers(name: str, meaning: str) -> Option:
    """The option of a list of channel numbers; backbones can share its name, as it differs in its meaning only."""
    return Option(name=name, kind=int, many=True, least=1, most=MOST_CHANNELS, meaning=meaning)


def whole(value: Any, least: int, most: int) -> bool:
    """Whether ``value`` is a whole number from ``least`` to ``most``; True and False do not count as numbers."""
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most


BACKBONES: RegistryWithOptions[BackboneEntry] = RegistryWithOptions(
    "backbone", "smoothmorph.backbones", package="smoothmorph.networks.backbones.entries"
)
