"""A trained network in the forms that other software reads."""

import io
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch
from monai.data.torchscript_utils import save_net_with_metadata

from ..networks import export_program, export_torchscript, save_official
from ..transforms.errors import InputError
from .bundle import write_bundle
from .files import write_atomically
from .trained import Trained

Shape = Sequence[int] | None


def export(
    trained: Trained,
    kind: str,
    out: Path,
    shape: Shape = None,
    rows: pd.DataFrame | None = None,
    authors: str | None = None,
) -> None:
    """Write ``trained`` to ``out``.

    Args:
        trained: the network.
        kind: ``bundle`` (a folder), or ``torchscript``, ``torch-export`` or ``official`` (a file).
        out: must not exist.
        shape: (*spatial) of the images; None is the shape it was trained on.
        rows: of its test pairs, and ``authors``: for a bundle's model card.

    Raises:
        InputError: an unknown kind, ``out`` exists or cannot be written, a shape that is unknown or does not fit, or
            a network that the kind cannot hold.
    """
    if kind not in ("bundle", *FILES):
        raise InputError(f"unknown kind {kind!r}; expected bundle, {', '.join(FILES)}.")
    if authors is not None and kind != "bundle":
        raise InputError(f"--authors is for a bundle; a {kind} file does not hold them.")
    if out.exists():
        raise InputError(f"{out} exists; choose another name or remove it.")
    if kind == "bundle":
        write_bundle(trained, out, shape, rows, authors)
        return
    found = trained.shape_or(shape)
    write_atomically(out, lambda temporary: FILES[kind](trained, temporary, found))


def _about(trained: Trained, shape: Sequence[int]) -> dict[str, object]:
    about: dict[str, object] = {"model": trained.network.config, "shape": list(shape)}
    if trained.settings is not None:
        about |= {"trial": trained.trial, "settings": trained.settings.identity()}
    return about


def _torchscript(trained: Trained, path: Path, shape: Sequence[int]) -> None:
    script = export_torchscript(trained.network, shape)
    save_net_with_metadata(script, str(path), False, meta_values=_about(trained, shape))


def _torch_export(trained: Trained, path: Path, shape: Sequence[int]) -> None:
    program, buffer = export_program(trained.network, shape), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No complete tensor found")  # of weights in the convolutions' order
        about = {"smoothmorph.json": json.dumps(_about(trained, shape))}
        torch.export.save(program, buffer, extra_files=about)
    path.write_bytes(buffer.getvalue())


def _official(trained: Trained, path: Path, shape: Sequence[int]) -> None:
    save_official(path, trained.network, shape)


FILES: dict[str, Callable[[Trained, Path, Sequence[int]], None]] = {
    "torchscript": _torchscript,
    "torch-export": _torch_export,
    "official": _official,
}
