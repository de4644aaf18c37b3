"""Official VoxelMorph's weights in and out (PyPI voxelmorph 0.2, PyTorch), without that package."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..transforms.errors import InputError, one_line
from .voxelmorph import VoxelMorph

CONFIG = {"integration_steps": "int_steps", "integration_downsize": "int_downsize"}
"""Our settings and official VoxelMorph's."""


def from_official(state: Mapping[str, Tensor], **settings: Any) -> VoxelMorph:
    """A network with the weights of official ``VxmDense``.

    Args:
        state: ``vxm.state_dict()``; sampling grids in it are ignored.
        settings: ``integration_steps`` (``int_steps``) and ``integration_downsize`` (``int_downsize``) of that network.

    Raises:
        InputError: not a ``VxmDense`` with the default feature widths.
    """
    state = {name: tensor for name, tensor in state.items() if not name.endswith(".grid")}
    if "flow.weight" not in state:
        raise InputError("these are no VxmDense weights: there is no 'flow.weight'.")
    try:
        model = VoxelMorph(spatial_dims=state["flow.weight"].ndim - 2, **settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"such a VxmDense network cannot be made: {one_line(error)}.") from None
    expected = to_official(model)
    differing = [name for name in {**expected, **state} if _shape(expected, name) != _shape(state, name)]
    if differing:
        name = differing[0]
        raise InputError(
            f"VxmDense weight {name!r} has shape {_shape(state, name)}, expected {_shape(expected, name)}: "
            "only the default feature widths are supported."
        )
    with torch.no_grad():
        for name, weight, skip in _official_names(model):
            source = state[name]
            weight.copy_(source.roll(skip, dims=1) if skip else source)
    return model


def to_official(model: VoxelMorph) -> dict[str, Tensor]:
    """The weights under the names, and in the channel order, of official ``VxmDense`` (without its sampling grids)."""
    return {
        name: (weight.roll(-skip, dims=1) if skip else weight).detach().clone()
        for name, weight, skip in _official_names(model)
    }


def load_official(path: Path, **settings: Any) -> VoxelMorph:
    """A network from a file that official VoxelMorph saved (``.pt``), read without running any code in it.

    Args:
        path: what ``VxmDense.save`` wrote, or its state dictionary.
        settings: as for :func:`from_official`; what is not given is taken from the file.

    Raises:
        InputError: as :func:`read_official`, or another network than VoxelMorph's default one.
    """
    state, config = read_official(path)
    settings = {ours: config[theirs] for ours, theirs in CONFIG.items() if theirs in config} | settings
    missing = [name for name in CONFIG if name not in settings]
    if missing:
        raise InputError(
            f"{path} does not say how its network integrates; give {' and '.join(missing)} (VoxelMorph's are 7 and 2)."
        )
    try:
        return from_official(state, **settings).eval()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_official(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights in a file of official VoxelMorph, and its configuration (``inshape``, ...; empty if there is none).

    Raises:
        InputError: missing or damaged file, or one that holds more than tensors and plain values.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"no weights at {path}.") from None
    except PermissionError:
        raise
    except Exception:  # torch raises many kinds; what it says of most is how to run the code in a file
        raise InputError(
            f"{path} cannot be read as plain weights: it is damaged, no file of torch's, or holds more than tensors "
            "and plain values; give the .pt file that VxmDense.save wrote."
        ) from None
    state, config = content, {}
    if isinstance(content, dict) and "model_state" in content:
        state, config = content["model_state"], content.get("config", {})
    if not (isinstance(state, dict) and isinstance(config, dict) and all(map(torch.is_tensor, state.values()))):
        raise InputError(f"{path} holds no state dictionary; give the .pt file that VxmDense.save wrote.")
    return state, config


def save_official(path: Path, model: VoxelMorph, shape: Sequence[int]) -> None:
    """Write what ``voxelmorph.networks.VxmDense.load`` reads.

    Args:
        path: the ``.pt`` file.
        model: of the default feature widths, padded with zeros.
        shape: (*spatial) of the images; official networks are made for one.

    Raises:
        InputError: a network or a shape that official VoxelMorph does not have.
    """
    default = VoxelMorph(model.spatial_dims)
    if (model.channels, model.final_channels) != (default.channels, default.final_channels):
        raise InputError("this network has feature widths of its own; only VoxelMorph's can be exported.")
    if model.padding_mode != default.padding_mode:
        raise InputError(
            f"this network pads with {model.padding_mode}; official VoxelMorph pads with {default.padding_mode} and "
            "would give another result at the edges."
        )
    if len(shape) != model.spatial_dims or any(length % model.multiple for length in shape):
        raise InputError(
            f"official VoxelMorph takes {model.spatial_dims} sizes that divide by {model.multiple}, got "
            f"{'x'.join(map(str, shape))}; give --shape, and pad the images to it."
        )
    config = {"inshape": tuple(shape)} | {theirs: getattr(model, ours) for ours, theirs in CONFIG.items()}
    state = {name: weight.cpu().contiguous() for name, weight in to_official(model).items()}
    torch.save({"config": config, "model_state": state}, path)


def _official_names(model: VoxelMorph) -> Iterator[tuple[str, Tensor, int]]:
    """(official name, our parameter, channels of the skip connection) for every parameter, in the order of both.

    MONAI concatenates [skip, upsampled], VoxelMorph [upsampled, skip]: the input channels are rolled by the skip's.
    """
    levels = model.unet.levels
    names = [f"unet_model.encoder.{level}.0.main" for level in range(levels)]
    names += [f"unet_model.decoder.{level}.0.main" for level in range(levels)]
    names += [f"unet_model.remaining.{index}.main" for index in range(len(model.final_channels) + 1)]
    for name, convolution, skip in zip([*names, "flow"], model.unet.convolutions, model.unet.skips, strict=True):
        assert convolution.bias is not None
        yield f"{name}.weight", convolution.weight, skip
        yield f"{name}.bias", convolution.bias, 0


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None
