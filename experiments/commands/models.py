"""Commands for trained networks: models, export, import."""

from pathlib import Path
from typing import Annotated

import typer

from ...pipeline.exports.formats import check_export
from ...pipeline.exports.formats import export as write
from ...pipeline.models.built_in import find_model, shipped_models
from ...pipeline.models.official_weights import import_official as convert
from ...transforms.basics.errors import InputError, quoted
from ..store.trial_tables import read_parquet
from .common import echo

Model = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help="Folder of a trial, a .safetensors file, or the name of a shipped model."),
]


def models() -> None:
    """List the models that are shipped with smoothmorph; `register --model` takes their names.

    Example:
        smoothmorph models
    """
    for name, path in shipped_models().items():
        card = path.with_suffix(".md")
        images = [line for line in card.read_text(encoding="utf-8").splitlines() if line.startswith("- Trained on: ")]
        typer.echo(f"{name}\n  {images[0].removeprefix('- ')}\n  Card: {card}")


def export(
    model: Model,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="bundle (MONAI), model, torchscript, torch-export, or official (VoxelMorph)."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder (for a bundle) or file to write.")],
    shape: Annotated[
        str | None, typer.Option(metavar="NxN[xN]", help="Size of the images in voxels; default: as in training.")
    ] = None,
    authors: Annotated[str | None, typer.Option(help="bundle, model: names of the authors.")] = None,
) -> None:
    """Export a trained network: as a MONAI bundle, a single file, a graph, or weights of official VoxelMorph.

    Example:
        smoothmorph export brain-2d official weights.pt
    """
    sizes = None if shape is None else _sizes(shape)
    check_export(kind, out, authors)
    file = find_model(model)
    from ...pipeline import open_trained

    trained = open_trained(file)
    write(trained, kind, out, sizes, _rows(trained.source.parent, trained.trial), authors)
    echo(out)


def import_official(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="The .pt file that official VoxelMorph saved.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .safetensors file to write.")],
    integration_steps: Annotated[
        int | None, typer.Option(help="Needed if the file does not say it; VoxelMorph's default: 7.")
    ] = None,
    integration_downsize: Annotated[
        int | None, typer.Option(help="Needed if the file does not say it; VoxelMorph's default: 2.")
    ] = None,
) -> None:
    """Convert weights of official VoxelMorph (PyTorch) to a model of smoothmorph.

    Example:
        smoothmorph import weights.pt model.safetensors
    """
    given = {"integration_steps": integration_steps, "integration_downsize": integration_downsize}
    convert(weights, out, **{name: value for name, value in given.items() if value is not None})
    echo(out)


def _sizes(text: str) -> tuple[int, ...]:
    sizes = text.replace(",", "x").split("x")
    if not all(size.strip().isdecimal() and len(size) < 10 and int(size) for size in sizes):
        raise InputError(f"--shape {quoted(text)[1:-1]}: expected numbers of voxels, such as 160x192.")
    return tuple(map(int, sizes))


def _rows(folder: Path, trial: str | None):
    """The rows of this model's trial; None if the model is not in the folder of its trial."""
    file = folder / "pairs.parquet"
    if trial is None or not file.is_file():
        return None
    rows = read_parquet(file)
    return rows if set(rows["trial"]) == {trial} else None
