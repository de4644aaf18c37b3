"""The command `register`: register two images with a trained network."""

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...networks import PENALTIES, SIMILARITIES
from ...pipeline.fields.apply import check_background
from ...pipeline.images.output_paths import FIELDS, IMAGES, check_grid, check_output
from ...pipeline.images.volumes import read_volume
from ...pipeline.models.built_in import advice, find_model
from ...pipeline.settings.device import check_device, choose_device
from ...transforms.basics.errors import InputError, quoted
from .common import echo, read_limit
from .register_outputs import print_agreements, write_files

if TYPE_CHECKING:
    from ...networks import Objective
    from ...pipeline import ImagePair, Trained
    from ...pipeline.evaluation.limit import Limit

Image = "NIfTI, NRRD, MetaImage, or the folder of a DICOM series."
Written = ".nii, .nii.gz, .mha or .nrrd"
Optional = Path | None


def register(
    moving: Annotated[Path, typer.Argument(metavar="MOVING", help=f"The image that is warped: {Image}")],
    fixed: Annotated[Path, typer.Argument(metavar="FIXED", help="The image onto which MOVING is warped.")],
    model: Annotated[
        Optional,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Needed: folder of a trial, a .safetensors file, or a name from `smoothmorph models`.",
        ),
    ] = None,
    affine: Annotated[bool, typer.Option("--affine", help="Align the images first: rigidly, then affinely.")] = False,
    refine: Annotated[
        str,
        typer.Option(metavar="N", help="Fine-tune the field for this pair: N steps, or auto."),
    ] = "0",
    penalty: Annotated[
        str | None,
        typer.Option(
            help="Penalty of a model for many λ, or of --refine; a sum is written 0.01*l2+l1. Default: its own."
        ),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option("--lambda", min=0, help="λ of a model for many λ, or of --refine. Default: its own."),
    ] = None,
    max_folding: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT", help="A model for many λ: take the lowest λ with at most this folding, e.g. 0.01%."
        ),
    ] = None,
    max_sdlogj: Annotated[
        float | None, typer.Option(help="A model for many λ: take the lowest λ with at most this SDlogJ, e.g. 0.3.")
    ] = None,
    similarity: Annotated[
        str | None,
        typer.Option(
            help=f"--refine: {', '.join(SIMILARITIES)}, or a sum such as mse+0.5*ncc; default: as in training."
        ),
    ] = None,
    lambda_map: Annotated[
        Optional,
        typer.Option(metavar="M", help="--refine: an image or mask of FIXED, a factor on λ per voxel."),
    ] = None,
    warped: Annotated[Optional, typer.Option(metavar="W", help=f"Write the warped image: {Written}.")] = None,
    background: Annotated[
        float, typer.Option(help="The value of the warped image outside the moving image, e.g. -1024 in HU.")
    ] = 0.0,
    field: Annotated[
        Optional, typer.Option(metavar="F", help="Write the displacement field: .nii[.gz], .mha, .nrrd, .h5 or .npz.")
    ] = None,
    inverse_field: Annotated[Optional, typer.Option(metavar="I", help="Write the inverse field.")] = None,
    jacobian: Annotated[Optional, typer.Option(metavar="J", help="Write the map of the Jacobian determinant.")] = None,
    moving_labels: Annotated[
        Optional, typer.Option(metavar="L", help="A label map of MOVING; it is warped, too.")
    ] = None,
    fixed_labels: Annotated[
        Optional, typer.Option(metavar="L", help="A label map of FIXED; the table then shows Dice.")
    ] = None,
    warped_labels: Annotated[
        Optional,
        typer.Option(metavar="FILE", help="Write the warped labels; default: beside W, with -labels in the name."),
    ] = None,
    report: Annotated[
        Optional, typer.Option(metavar="R", help="Write a figure with an overview: .png, .pdf or .svg.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Register two images of any shape, spacing and orientation with a trained network.

    The field T maps points of the fixed image to points of the moving image: warped(p) = moving(T(p)). All files are
    written on the grid of the fixed image; only the inverse field is on the grid of the moving image.

    Example:
        smoothmorph register moving.nii.gz fixed.nii.gz -m brain-2d --field field.h5
    """
    _check_labels(moving_labels, fixed_labels, warped, warped_labels)
    steps = _steps(refine)
    chosen = {"penalty": penalty, "lambda": weight, "similarity": similarity}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    limit = read_limit(max_folding, max_sdlogj)
    if limit is not None and weight is not None:
        raise InputError("--lambda and a limit exclude each other; give λ, or let the limit find it.")
    for option, value in {"similarity": similarity, "lambda-map": lambda_map}.items():
        if value is not None and not steps:
            raise InputError(f"--{option} needs --refine; add --refine N, or leave it out.")
    outputs = {"warped": warped, "field": field, "inverse-field": inverse_field, "jacobian": jacobian, "report": report}
    outputs["warped-labels"] = warped_labels or _beside(warped, moving_labels)
    images = [moving, fixed, moving_labels, fixed_labels, lambda_map]
    _check_outputs(outputs, images)
    check_background(background)
    _check_inputs(images, chosen, device)

    if model is None:
        raise InputError(f"--model is missing; {advice()}.")
    file = find_model(model)

    from rich.console import Console

    from ...pipeline import ImagePair, open_trained
    from ...pipeline import register as register_pair
    from ..run.progress import following

    where = choose_device(device)
    trained = _turned(open_trained(file), penalty, weight, limit, steps)
    pair = ImagePair(
        read_volume(moving),
        read_volume(fixed),
        None if moving_labels is None else read_volume(moving_labels, labels=True),
        None if fixed_labels is None else read_volume(fixed_labels, labels=True),
        None if lambda_map is None else read_volume(lambda_map, constant=True),
    )
    _check_grids(outputs, pair)
    if trained.conditional is not None:  # its settings have the penalty and λ already
        chosen = {name: value for name, value in chosen.items() if name == "similarity"}
    objective = partial(_objective, chosen=chosen)
    objective(trained)  # refuses bad options before anything is computed
    with following(Console(stderr=True)) as tell:
        found = register_pair(trained, pair, affine, steps, objective, where, tell, limit)
    print_agreements(found)
    for notice in write_files(found, pair, outputs, background):
        echo(f"notice: {notice}", err=True)


def _steps(refine: str) -> "int | Literal['auto']":
    """The steps of refinement; InputError unless the text is a whole number of at least 0 or ``auto``."""
    if refine == "auto":
        return "auto"
    if not re.fullmatch(r"\d{1,6}", refine):
        raise InputError(f"--refine {quoted(refine)[1:-1]}: expected a number of steps up to 999999, or auto.")
    return int(refine)


def _turned(
    model: "Trained", penalty: str | None, weight: float | None, limit: "Limit | None", refine: int | str
) -> "Trained":
    """The model at the chosen penalty and λ, if it is for many; with another one, only --refine uses them."""
    given = [f"--{name}" for name, value in (("penalty", penalty), ("lambda", weight)) if value is not None]
    if model.conditional is not None:
        return model.at(penalty, weight) if given else model
    if limit is not None:
        given = ["--max-folding or --max-sdlogj"]
    if given and (limit is not None or not refine):
        advice = "give a model for many λ" if limit else "add --refine N, or give a model for many λ"
        raise InputError(f"{given[0]} has no effect on {model.source}, a network for one λ; {advice}.")
    return model


def _check_labels(moving: Path | None, fixed: Path | None, warped: Path | None, out: Path | None) -> None:
    """Raise InputError for label options that would have no effect."""
    for option, given in (("--warped-labels", out), ("--fixed-labels", fixed)):
        if given is not None and moving is None:
            raise InputError(f"{option} {given} needs --moving-labels; give the label map of the moving image, too.")
    if moving is not None and (fixed, warped, out) == (None, None, None):
        raise InputError(
            f"--moving-labels {moving} has no effect alone; add --fixed-labels to get Dice, or --warped or "
            "--warped-labels to write the warped labels."
        )


def _beside(warped: Path | None, labels: Path | None) -> Path | None:
    if warped is None or labels is None:
        return None
    ending = next((known for known in IMAGES if warped.name.lower().endswith(known)), "")
    stem = len(warped.name) - len(ending)
    return warped.with_name(f"{warped.name[:stem]}-labels{warped.name[stem:]}")


def _check_outputs(outputs: dict[str, Path | None], inputs: list[Path | None]) -> None:
    """Raise InputError, before anything is read, for a file that cannot be written."""
    endings = {"report": (".png", ".pdf", ".svg"), "field": FIELDS, "inverse-field": FIELDS}
    given = {name: path for name, path in outputs.items() if path is not None}
    for name, path in given.items():
        check_output(path, endings.get(name, IMAGES), inputs)
    if len({path.resolve() for path in given.values()}) < len(given):
        raise InputError("two of the files to write have the same name; choose different names.")


def _check_inputs(images: list[Path | None], chosen: dict[str, Any], device: str) -> None:
    """Raise InputError, before anything heavy is loaded, for missing files and unknown names."""
    from ...pipeline import TrialSettings, parse
    from ...pipeline.images.volumes import check_headers

    check_device(device)
    parse(TrialSettings, {"objective": chosen}, "register")
    check_headers(images)


def _check_grids(outputs: dict[str, Path | None], pair: "ImagePair") -> None:
    """Raise InputError, before anything is computed, for a file whose format cannot store the grid of its image."""
    for name, path in outputs.items():
        if path is not None and name != "report":
            image = pair.moving if name == "inverse-field" else pair.fixed
            check_grid(path, FIELDS if name.endswith("field") else IMAGES, image.grid, image.path)


def _objective(trained: "Trained", chosen: dict[str, Any]) -> "Objective":
    """The objective of the training, with the options that the user chose."""
    from ...pipeline import TrialSettings, parse
    from ...pipeline.training.parts import build_objective

    settings = trained.settings or TrialSettings()
    values: dict[str, Any] = settings.model_dump(mode="json", by_alias=True)
    values["cohort"]["spatial_dims"] = trained.network.spatial_dims
    del values["objective"]["condition"]  # that of the network, which refinement may leave
    penalties = values["objective"]["penalty"], chosen.get("penalty")
    if penalties[1] and any(map(PENALTIES.is_sum, penalties)):
        del values["objective"]["lambda"]  # the λ of a sum has another scale
    values["objective"] |= chosen
    return build_objective(parse(TrialSettings, values, "--refine"))
