"""Official VoxelMorph's weights in and out (PyPI voxelmorph 0.2, PyTorch), without that package."""

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
"""Our settings and official VoxelMorph's."""
HOLDERS = ("model_state", "state_dict", "model_state_dict")
"""What a state dictionary is called within a file: by VoxelMorph, by Lightning and in PyTorch's own tutorials."""
FLOW = "flow.weight"


def from_official(state: Mapping[str, Tensor], **settings: Any) -> VoxelMorph:
    """A network with the weights of official ``VxmDense``.

    Args:
        state: ``vxm.state_dict()``; sampling grids in it are ignored. Where the network was a part of another module
            (DataParallel, torch.compile, Lightning), the prefix of its weights' names is, too, and so are other parts.
        settings: ``integration_steps`` (``int_steps``) and ``integration_downsize`` (``int_downsize``) of that network.

    Raises:
        InputError: not a ``VxmDense`` with the default feature widths, or as :func:`~.weights.check_weights`.
    """
    state = _bare(state)
    try:
        model = VoxelMorph(spatial_dims=getattr(state[FLOW], "ndim", 0) - 2, **settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"such a VxmDense network cannot be made: {one_line(error)}.") from None
    try:
        checked = check_weights(state, to_official(model))
    except InputError as error:
        raise InputError(f"these are no weights of VxmDense with its default feature widths: {error}.") from None
    with torch.no_grad():
        for name, weight, skip in _official_names(model):
            weight.copy_(checked[name].roll(skip, dims=1) if skip else checked[name])
    return model


def _bare(state: Mapping[str, Any]) -> dict[str, Any]:
    """The network's own entries, without sampling grids, by their names in ``VxmDense``."""
    if not all(isinstance(name, str) for name in state):
        raise InputError("these are no VxmDense weights: not every weight has a name.")
    flows = [name for name in state if f".{name}".endswith(f".{FLOW}")]
    if not flows:
        raise InputError(f"these are no VxmDense weights: there is no {FLOW!r}.")
    if len(flows) > 1:
        raise InputError(f"these are weights of {len(flows)} networks; save the state dictionary of one.")
    prefix = flows[0].removesuffix(FLOW)
    own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    return {name: tensor for name, tensor in own.items() if not name.endswith(".grid")}


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
    with naming(path):
        return from_official(state, **settings).eval()


def read_official(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights in a file of official VoxelMorph, and its configuration (``inshape``, ...; empty if there is none).

    Neither is checked.

    Raises:
        InputError: missing or damaged file, or one that holds more than tensors and plain values.
    """
    if not path.is_file():
        raise InputError(f"no weights at {path}.")
    try:
        content = read_torch(path)
    except InputError:
        raise InputError(
            f"{path} cannot be read as plain weights: it is damaged, no file of torch's, or holds more than tensors "
            "and plain values; give the .pt file that VxmDense.save wrote."
        ) from None
    state, config = content, {}
    if isinstance(content, dict) and (holders := [name for name in HOLDERS if name in content]):
        state, config = content[holders[0]], content.get("config", {})
    if not (isinstance(state, dict) and isinstance(config, dict) and any(map(torch.is_tensor, state.values()))):
        raise InputError(f"{path} holds no state dictionary; give the .pt file that VxmDense.save wrote.")
    return state, config


def save_official(path: Path, model: VoxelMorph, shape: Sequence[int]) -> None:
    """Write what ``voxelmorph.networks.VxmDense.load`` reads.

    Args:
        path: the ``.pt`` file.
        model: of the default feature widths, padded with zeros.
        shape: (*spatial) of the images; official networks are made for one.

    Raises:
        InputError: a network or a shape that official VoxelMorph does not have, or a weight that is not finite.
    """
    default, unet = VoxelMorph(model.spatial_dims), model.field
    if not isinstance(unet, PairUNet):
        raise InputError(
            f"this network has the backbone {model.entry.name}; official VoxelMorph has only its own: export this one "
            "as bundle, model, torchscript or torch-export."
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
            f"official VoxelMorph takes {model.spatial_dims} sizes that divide by {unet.multiple}, got "
            f"{times(shape)}; give --shape, and pad the images to it."
        )
    config = {"inshape": tuple(shape)} | {theirs: getattr(model, ours) for ours, theirs in CONFIG.items()}
    state = writable(to_official(model), path)
    content = io.BytesIO()  # onto a full disk, torch.save itself raises RuntimeError
    torch.save({"config": config, "model_state": state}, content)
    path.write_bytes(content.getbuffer())


def _official_names(model: VoxelMorph) -> Iterator[tuple[str, Tensor, int]]:
    """(official name, our parameter, channels of the skip connection) for every parameter, in the order of both.

    MONAI concatenates [skip, upsampled], VoxelMorph [upsampled, skip]: the input channels are rolled by the skip's.
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
