"""Model files: one safetensors file with a network's weights, its configuration and its origin."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...transforms.basics.bounds import LONGEST_ABOUT
from ...transforms.basics.errors import InputError, one_line, quoted
from ..conditional.network import ConditionalVoxelMorph
from ..voxelmorph import VoxelMorph
from .weights import check_size, check_weights, writable

Network = VoxelMorph | ConditionalVoxelMorph
_KEY = "smoothmorph"


def save_model(
    path: Path, model: Network, about: Mapping[str, Any] | None = None, dtype: torch.dtype = torch.float32
) -> None:
    """Write a network to a safetensors file: its weights as ``dtype``, its arguments and ``about`` (plain JSON).

    Raises:
        InputError: a weight is not finite, or becomes infinite in ``dtype``.
    """
    weights = writable(model.state_dict(), path, dtype)
    description = json.loads(json.dumps({"model": model.config, "about": dict(about or {})}))
    told = json.dumps({**description, "sha256": _digest(description, weights)}, sort_keys=True)
    path.write_bytes(save(weights, metadata={_KEY: told}))  # save_file hides the error of a full disk


def load_model(path: Path) -> Network:
    """Read a network that :func:`save_model` wrote, in evaluation mode on the CPU.

    Raises:
        InputError: the file is missing or damaged, or not a smoothmorph model.
    """
    return read_model(path)[0]


def read_model(path: Path) -> tuple[Network, dict[str, Any]]:
    """Read a network as :func:`load_model` does, and the ``about`` that :func:`save_model` was given.

    Raises:
        InputError: as :func:`load_model`.
    """
    if not path.is_file():
        raise InputError(f"no model at {path}.")
    try:
        check_size(path)
        with safe_open(path, framework="pt") as file:
            description = _description((file.metadata() or {}).get(_KEY))
            with torch.device("meta"):  # takes no memory, whatever sizes the file claims
                expected = _network(description["model"]).state_dict()
            stored = {name: file.get_tensor(name) if name in expected else None for name in file.keys()}  # noqa: SIM118
        if description.pop("sha256", None) not in (None, _digest(description, stored)):  # older files have none
            raise InputError("its content differs from its checksum")
        weights = check_weights(stored, expected)
        model = _network(description["model"])
        model.load_state_dict(weights)
        return model.eval(), description["about"]
    except PermissionError:
        raise
    except (SafetensorError, OSError) as error:
        said = re.sub(r" for tensor `.*`", "", one_line(error))  # which of several tensors it names is random
        raise InputError(f"{path} is damaged or not a safetensors file: {said}.") from None
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is not a smoothmorph model: {one_line(error)}.") from None


def _network(arguments: Mapping[str, Any]) -> Network:
    return (ConditionalVoxelMorph.from_config if "condition" in arguments else VoxelMorph)(**arguments)


def _description(text: str | None) -> dict[str, Any]:
    """Parse a file's description of its network; ValueError unless it has the form that :func:`save_model` writes."""
    if text is None:
        raise InputError("it does not describe its network; give a file that smoothmorph wrote")
    if len(text) > LONGEST_ABOUT:
        raise InputError(f"its description has more than {LONGEST_ABOUT:,} characters")
    description = json.loads(text, object_pairs_hook=_unique)
    for name in ("model", "about"):
        if not isinstance(description, dict) or not isinstance(description.get(name), dict):
            raise InputError(f"its description has no mapping {name!r}")
    return description


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary from a JSON object; an error if a key occurs twice (the parser would keep the last one)."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise InputError(f"its description has {quoted(next(n for n in names if names.count(n) > 1))} twice")
    return values


def _digest(description: Mapping[str, Any], weights: Mapping[str, Tensor | None]) -> str:
    """Return the sha256 of everything in a file; safetensors itself has no checksum."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, weight in sorted(weights.items()):
        if weight is not None:
            digest.update(f"{name} {weight.dtype} {list(weight.shape)}\n".encode())
            digest.update(weight.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
