"""Read and write weights of the official VoxelMorph (PyPI voxelmorph 0.2, PyTorch) without that package."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...transforms.basics.errors import InputError, naming, one_line, times
from ..backbones.unet import PairUNet
from ..voxelmorph import VoxelMorph
from .weights import check_weights, read_torch, writable

CONFIG = {"integration_steps": "int_steps", "integration_downsize": "int_downsize"}
"""Names of our settings and of the official VoxelMorph's."""
HOLDERS = ("model_state", "state_dict", "model_state_dict")
"""Keys of the state dictionary in a file: VoxelMorph's, Lightning's and that of PyTorch's tutorials."""
FLOW = "flow.weight"


def from_official(state: Mapping[str, Tensor], **settings: Any) -> VoxelMorph:
    """Make a network from the weights of the official ``VxmDense``.

    Args:
        state: ``vxm.state_dict()``. Sampling grids are ignored. If the network was part of another module
            (DataParallel, torch.compile, Lightning), the prefix of its weights' names and all other parts are ignored.
        settings: ``integration_steps`` (``int_steps``) and ``integration_downsize`` (``int_downsize``) of that network.

    Raises:
        InputError: this is not a ``VxmDense`` with default feature widths, or see :func:`~.weights.check_weights`.
    """
    state = _bare(state)
    try:
        model = VoxelMorph(spatial_dims=getattr(state[FLOW], "ndim", 0) - 2, **settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"no VxmDense network can be made with these settings: {one_line(error)}.") from None
    try:
        checked = check_weights(state, to_official(model))
    except InputError as error:
        raise InputError(f"these are not the weights of a VxmDense with default feature widths: {error}.") from None
    with torch.no_grad():
        for name, weight, skip in _official_names(model):
            weight.copy_(checked[name].roll(skip, dims=1) if skip else checked[name])
    return model


def _bare(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of the network itself, without sampling grids, under their names in ``VxmDense``."""
    if not all(isinstance(name, str) for name in state):
        raise InputError("these are not VxmDense weights: not every weight has a name.")
    flows = [name for name in state if f".{name}".endswith(f".{FLOW}")]
    if not flows:
        raise InputError(f"these are not VxmDense weights: there is no {FLOW!r}.")
    if len(flows) > 1:
        raise InputError(f"these are weights of {len(flows)} networks; save the state dictionary of one.")
    prefix = flows[0].removesuffix(FLOW)
    own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    return {name: tensor for name, tensor in own.items() if not name.endswith(".grid")}


def to_official(model: VoxelMorph) -> dict[str, Tensor]:
    """Return the weights with the names and the channel order of the official ``VxmDense``, without sampling grids."""
    return {
        name: (weight.roll(-skip, dims=1) if skip else weight).detach().clone()
        for name, weight, skip in _official_names(model)
    }


def load_official(path: Path, **settings: Any) -> VoxelMorph:
    """Read a network from a ``.pt`` file of the official VoxelMorph. No code in the file is run.

    Args:
        path: a file that ``VxmDense.save`` wrote, or a saved state dictionary.
        settings: see :func:`from_official`; missing settings are taken from the file.

    Raises:
        InputError: see :func:`read_official`; or the network is not VoxelMorph's default one.
    """
    state, config = read_official(path)
    settings = {ours: config[theirs] for ours, theirs in CONFIG.items() if theirs in config} | settings
    missing = [name for name in CONFIG if name not in settings]
    if missing:
        raise InputError(
            f"{path} does not say how its network integrates; give {' and '.join(missing)} (VoxelMorph uses 7 and 2)."
        )
    with naming(path):
        return from_official(state, **settings).eval()


def read_official(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights and configuration (``inshape``, ...; may be empty) from a file of the official VoxelMorph.

    Neither is checked.

    Raises:
        InputError: the file is missing or damaged, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise InputError(f"no weights at {path}.")
    try:
        content = read_torch(path)
    except InputError:
        raise InputError(
            f"{path} cannot be read as plain weights: it is damaged, not a torch file, or holds more than tensors "
            "and plain values; give the .pt file that VxmDense.save wrote."
        ) from None
    state, config = content, {}
    if isinstance(content, dict) and (holders := [name for name in HOLDERS if name in content]):
        state, config = content[holders[0]], content.get("config", {})
    if not (isinstance(state, dict) and isinstance(config, dict) and any(map(torch.is_tensor, state.values()))):
        raise InputError(f"{path} holds no state dictionary; give the .pt file that VxmDense.save wrote.")
    return state, config


def save_official(path: Path, model: VoxelMorph, shape: Sequence[int]) -> None:
    """Write a file that ``voxelmorph.networks.VxmDense.load`` reads.

    Args:
        path: the ``.pt`` file.
        model: a network with the default feature widths and zero padding.
        shape: image size (*spatial); an official network is made for one size.

    Raises:
        InputError: official VoxelMorph has no such network or shape, or a weight is not finite.
    """
    default, unet = VoxelMorph(model.spatial_dims), model.field
    if not isinstance(unet, PairUNet):
        raise InputError(
            f"this network has the backbone {model.entry.name}, which official VoxelMorph does not have; choose "
            "another kind of export."
        )
    if unet.options != default.field.options:
        raise InputError("this network has feature widths of its own; only VoxelMorph's can be exported.")
    if model.padding_mode != default.padding_mode:
        raise InputError(
            f"this network pads with {model.padding_mode}; official VoxelMorph pads with {default.padding_mode} and "
            "would give another result at the edges."
        )
    if len(shape) != model.spatial_dims or any(length < 1 or length % unet.multiple for length in shape):
        raise InputError(
            f"official VoxelMorph takes {model.spatial_dims} sizes that are multiples of {unet.multiple}, got "
            f"{times(shape)}; give --shape, and pad the images to it."
        )
    config = {"inshape": tuple(shape)} | {theirs: getattr(model, ours) for ours, theirs in CONFIG.items()}
    state = writable(to_official(model), path)
    content = io.BytesIO()  # on a full disk, torch.save itself raises RuntimeError
    torch.save({"config": config, "model_state": state}, content)
    path.write_bytes(content.getbuffer())


def _official_names(model: VoxelMorph) -> Iterator[tuple[str, Tensor, int]]:
    """Yield (official name, our parameter, channels of the skip connection) for every parameter, in order.

    MONAI concatenates [skip, upsampled], VoxelMorph [upsampled, skip]. The input channels are therefore rolled by the
    number of skip channels.
    """
    unet: PairUNet = model.field
    levels = unet.levels
    names = [f"unet_model.encoder.{level}.0.main" for level in range(levels)]
    names += [f"unet_model.decoder.{level}.0.main" for level in range(levels)]
    names += [f"unet_model.remaining.{index}.main" for index in range(len(unet.options["final_channels"]) + 1)]
    for name, convolution, skip in zip([*names, "flow"], unet.convolutions, unet.skips, strict=True):
        assert convolution.bias is not None
        yield f"{name}.weight", convolution.weight, skip
        yield f"{name}.bias", convolution.bias, 0
