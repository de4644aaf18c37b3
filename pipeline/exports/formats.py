"""The formats to which a trained network can be exported."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ... import networks
from ...transforms.basics.atomic import check_new
from ...transforms.basics.errors import InputError, times
from ..files.text import write_atomically, write_text
from ..images.output_paths import check_output, check_place
from ..models.card_texts import CardTexts

if TYPE_CHECKING:
    import pandas as pd

    from ..models.trained_model import Trained

Shape = Sequence[int] | None


def export(
    trained: Trained,
    kind: str,
    out: Path,
    shape: Shape = None,
    rows: pd.DataFrame | None = None,
    texts: CardTexts = CardTexts(),  # noqa: B008 (it cannot be changed)
) -> None:
    """Export ``trained`` to ``out``.

    Args:
        trained: the network. Of a network for every λ, a ``model`` has all of it, and recommends the penalty and λ of
            ``trained``; the other kinds have the plain network for these.
        kind: ``bundle`` (a folder), ``model`` (a small file with a model card), or ``torchscript``, ``torch-export`` or
            ``official`` (a file).
        out: the file or folder to write; it must not exist, nor the card of a model. ``ENDINGS`` are the allowed
            endings of files.
        shape: shape (*spatial) of the images; None for that of the training images. If a model states its shape, no
            other is allowed.
        rows: rows of its test pairs, for the model card of a bundle or a model; of a network for every λ, of all its
            trials.
        texts: what the model card of a bundle or a model says in the exporter's words; where they say nothing, what the
            network's file keeps of an earlier export.

    Raises:
        InputError: the kind is unknown, ``out`` exists or cannot be written, the shape is unknown or does not fit, or
            the kind cannot represent the network.
    """
    check_export(kind, out, texts)
    texts = texts.over(trained.texts)
    trained = replace(trained, texts=texts)
    if kind in CARDED:
        CARDED[kind](trained, out, shape, rows, texts)
        return
    found = trained.shape_or(shape)
    write_atomically(out, lambda temporary: FILES[kind](trained, temporary, found))


def check_export(kind: str, out: Path, texts: CardTexts) -> None:
    """Check the arguments of :func:`export` that do not depend on the network, before it is read.

    Raises:
        InputError: the kind is unknown, a text is given but no card is written, or ``out`` exists or cannot be written.
    """
    if kind not in (*CARDED, *FILES):
        raise InputError(f"unknown kind {kind!r}; expected {', '.join((*CARDED, *FILES))}.")
    for option, value in vars(texts).items():
        if value is not None and kind not in CARDED:
            raise InputError(f"--{option} is only for a bundle or a model; leave it out for {kind}.")
    check_new(out)
    if kind == "bundle":
        check_place(out)
        return
    check_output(out, ENDINGS[kind])
    if kind == "model" and (card := out.with_suffix(".md")).exists():
        raise InputError(f"the file for the model card, {card}, exists; choose another name or remove it.")


def _about(trained: Trained, shape: Sequence[int]) -> dict[str, object]:
    return {"model": trained.network.config, "shape": list(shape), **trained.origin}


def _bundle(trained: Trained, out: Path, shape: Shape, rows: pd.DataFrame | None, texts: CardTexts) -> None:
    from .bundle import write_bundle

    write_bundle(trained, out, shape, rows, texts)


def _model(trained: Trained, out: Path, shape: Shape, rows: pd.DataFrame | None, texts: CardTexts) -> None:
    """Write weights in half precision, which halves the file and does not change results much, and a model card."""
    import torch

    from .bundle.metadata import Measured, metadata, model_card

    trained = _with_shape(trained, shape)
    about = {**trained.origin, "images": trained.images.note()}
    measured = Measured.of(trained, rows)
    values = metadata(trained, trained.shape_or(None), measured.alone, texts)
    card = model_card(trained, out.stem, values, measured, texts, "weights")
    write_atomically(out, lambda temporary: networks.save_model(temporary, trained.whole, about, torch.float16))
    write_text(out.with_suffix(".md"), card)


def _with_shape(trained: Trained, shape: Shape) -> Trained:
    """``trained`` with the given shape, if its own is not known."""
    chosen, known = trained.shape_or(shape), trained.images.shape
    if known is not None and chosen != tuple(known):
        raise InputError(
            f"--shape {times(chosen)}: {trained.source} was trained on images of {times(known)}, and its model must "
            "state that shape; leave out --shape."
        )
    return replace(trained, images=replace(trained.images, shape=chosen))


def _torchscript(trained: Trained, path: Path, shape: Sequence[int]) -> None:
    from monai.data.torchscript_utils import save_net_with_metadata

    # into memory first: when the disk is full, torch raises RuntimeError instead of OSError
    script, buffer = networks.export_torchscript(trained.network, shape), io.BytesIO()
    save_net_with_metadata(script, buffer, False, meta_values=_about(trained, shape))
    path.write_bytes(buffer.getvalue())


def _torch_export(trained: Trained, path: Path, shape: Sequence[int]) -> None:
    import torch

    program, buffer = networks.export_program(trained.network, shape), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No complete tensor found")  # for weights in channels-last order
        about = {"smoothmorph.json": json.dumps(_about(trained, shape))}
        torch.export.save(program, buffer, extra_files=about)
    path.write_bytes(buffer.getvalue())


def _official(trained: Trained, path: Path, shape: Sequence[int]) -> None:
    networks.save_official(path, trained.network, shape)


CARDED = {"bundle": _bundle, "model": _model}
"""Kinds with a model card."""
ENDINGS = {"model": (".safetensors",), "torchscript": (".ts", ".pt"), "torch-export": (".pt2",), "official": (".pt",)}
FILES: dict[str, Callable[[Trained, Path, Sequence[int]], None]] = {
    "torchscript": _torchscript,
    "torch-export": _torch_export,
    "official": _official,
}
