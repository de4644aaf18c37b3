"""A network in one file: safetensors with its weights, its configuration and where it comes from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..transforms.errors import InputError, one_line
from .voxelmorph import VoxelMorph

_KEY = "smoothmorph"


def save_model(
    path: Path, model: VoxelMorph, about: Mapping[str, Any] | None = None, dtype: torch.dtype = torch.float32
) -> None:
    """Write weights of ``dtype``, the constructor's arguments and ``about`` (plain JSON) to a safetensors file."""
    weights = {name: weight.detach().to("cpu", dtype).contiguous() for name, weight in model.state_dict().items()}
    description = json.dumps({"model": model.config, "about": dict(about or {})}, sort_keys=True)
    path.write_bytes(save(weights, metadata={_KEY: description}))  # save_file hides what a full disk answers


def load_model(path: Path) -> VoxelMorph:
    """The network of :func:`save_model`, in evaluation mode on the CPU.

    Raises:
        InputError: missing or damaged file, or one that is not a smoothmorph model.
    """
    return read_model(path)[0]


def read_model(path: Path) -> tuple[VoxelMorph, dict[str, Any]]:
    """As :func:`load_model`, with what :func:`save_model` was told about the network."""
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {})[_KEY])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        model = VoxelMorph(**description["model"])
        model.load_state_dict(weights)
        return model.eval(), dict(description["about"])
    except FileNotFoundError:
        raise InputError(f"no model at {path}.") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or not a safetensors file: {one_line(error)}.") from None
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is not a smoothmorph model: {one_line(error)}.") from None
