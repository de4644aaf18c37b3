"""Weights in and out: safetensors with the network's configuration, and official VoxelMorph state dictionaries."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..transforms.errors import InputError, one_line
from .voxelmorph import VoxelMorph

_KEY = "smoothmorph"


def save_model(path: Path, model: VoxelMorph, about: Mapping[str, Any] | None = None) -> None:
    """Write weights, the constructor's arguments and ``about`` (plain JSON values) to one safetensors file."""
    weights = {name: weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()}
    description = json.dumps({"model": model.config, "about": dict(about or {})}, sort_keys=True)
    path.write_bytes(save(weights, metadata={_KEY: description}))  # save_file hides what a full disk answers


def load_model(path: Path) -> VoxelMorph:
    """The network of :func:`save_model`, in evaluation mode on the CPU.

    Raises:
        InputError: missing or damaged file, or one that is not a smoothmorph model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {})[_KEY])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        model = VoxelMorph(**description["model"])
        model.load_state_dict(weights)
    except FileNotFoundError:
        raise InputError(f"no model at {path}.") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or not a safetensors file: {error}.") from None
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is not a smoothmorph model: {one_line(error)}.") from None
    return model.eval()


def from_official(state: Mapping[str, Tensor], **settings: Any) -> VoxelMorph:
    """A network with the weights of official ``VxmDense`` (PyPI voxelmorph 0.2, PyTorch).

    Args:
        state: ``vxm.state_dict()``; sampling grids in it are ignored.
        settings: ``integration_steps`` (``int_steps``) and ``integration_downsize`` (``int_downsize``) of that network.

    Raises:
        InputError: not a ``VxmDense`` with the default feature widths.
    """
    state = {name: tensor for name, tensor in state.items() if not name.endswith(".grid")}
    if "flow.weight" not in state:
        raise InputError("these are no VxmDense weights: there is no 'flow.weight'.")
    model = VoxelMorph(spatial_dims=state["flow.weight"].ndim - 2, **settings)
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

    Raises:
        InputError: missing or damaged file, or one that holds more than tensors and plain values.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"no weights at {path}.") from None
    except Exception as error:  # torch raises many kinds for damaged or unsafe files
        raise InputError(f"{path} cannot be read as plain weights: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}, expected a VxmDense state dictionary.")
    return from_official(content.get("model_state", content), **settings)


def _official_names(model: VoxelMorph) -> Iterator[tuple[str, Tensor, int]]:
    """(official name, our parameter, channels of the skip connection) for every parameter, in the order of both.

    MONAI concatenates [skip, upsampled], VoxelMorph [upsampled, skip]: the input channels are rolled by the skip's.
    """
    convolutions = model.unet.convolutions
    levels = model.unet.levels
    names = [f"unet_model.encoder.{level}.0.main" for level in range(levels)]
    names += [f"unet_model.decoder.{level}.0.main" for level in range(levels)]
    names += [f"unet_model.remaining.{index}.main" for index in range(len(model.final_channels) + 1)]
    skips = [0] * (levels + 1) + [convolution.out_channels for convolution in reversed(convolutions[:levels])]
    skips += [0] * (len(convolutions) - len(skips))
    for name, convolution, skip in zip([*names, "flow"], convolutions, skips, strict=True):
        assert convolution.bias is not None
        yield f"{name}.weight", convolution.weight, skip
        yield f"{name}.bias", convolution.bias, 0


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None
