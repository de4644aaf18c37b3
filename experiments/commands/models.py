"""Commands for trained networks: models, export, import."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...pipeline.exports.formats import check_export
from ...pipeline.exports.formats import export as write
from ...pipeline.files.text import read_text
from ...pipeline.models.built_in import find_model, shipped_models
from ...pipeline.models.card_texts import CardTexts
from ...pipeline.models.official_weights import import_official as convert
from ...transforms.basics.errors import InputError, quoted
from ..store.trial_tables import read_parquet
from .common import echo

if TYPE_CHECKING:
    from ...pipeline import Trained

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
    penalty: Annotated[str | None, typer.Option(help="Of a model for many λ: the penalty to export it for.")] = None,
    weight: Annotated[
        float | None, typer.Option("--lambda", help="Of a model for many λ: the λ to export it for.")
    ] = None,
    images: Annotated[str | None, typer.Option(help="bundle, model: the training images, in words.")] = None,
    terms: Annotated[str | None, typer.Option(help="bundle, model: their terms of use, in full sentences.")] = None,
    note: Annotated[
        Path | None,
        typer.Option(metavar="N", help="bundle, model: a Markdown file for the card, e.g. how λ was chosen."),
    ] = None,
) -> None:
    """Export a trained network: as a MONAI bundle, a single file, a graph, or weights of official VoxelMorph.

    A model for many λ stays one as `model`, where --penalty and --lambda say what it recommends. The other kinds have
    the plain network for these.

    Example:
        smoothmorph export brain-2d bundle brain-2d-bundle
    """
    sizes = None if shape is None else _sizes(shape)
    texts = CardTexts(authors, images, terms, None if note is None else read_text(note))
    check_export(kind, out, texts)
    file = find_model(model)
    from ...pipeline import open_trained

    trained = open_trained(file)
    if penalty is not None or weight is not None:
        trained = trained.at(penalty, weight)
    write(trained, kind, out, sizes, _rows(trained), texts)
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


def _rows(trained: "Trained"):
    """The rows of this model's trial, or of all trials that share it; None if they are not beside it."""
    from ...pipeline.settings.schema import SHARED

    folder = trained.source.parent
    if trained.conditional is not None and folder.parent.name == SHARED:
        return _of_all(trained, folder.parents[1])
    file = folder / "pairs.parquet"
    if trained.trial is None or not file.is_file():
        return None
    rows = read_parquet(file)
    return rows if set(rows["trial"]) == {trained.trial} else None


def _of_all(trained: "Trained", path: Path):
    import pandas as pd

    from ..store.run_folder import open_run

    run, own = open_run(path), trained.settings
    assert own is not None  # a model for many λ has settings
    shared = own.shared_identity()
    same = [trial for trial, settings in run.trials.items() if settings.shared_identity() == shared]
    files = [file for trial in same if (file := run.path / trial / "pairs.parquet").is_file()]
    return pd.concat(map(read_parquet, files), ignore_index=True) if files else None
