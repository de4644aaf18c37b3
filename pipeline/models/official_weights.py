"""Conversion of official VoxelMorph weights to a smoothmorph model."""

from pathlib import Path
from typing import Any

from ...transforms.basics.atomic import check_new
from ...transforms.basics.errors import InputError
from ..files.text import write_atomically
from ..images.output_paths import check_output


def import_official(path: Path, out: Path, **settings: int) -> None:
    """Convert a file of official VoxelMorph weights to a ``model.safetensors``.

    Args:
        path: file written by ``VxmDense.save``.
        out: the .safetensors file to write; it must not exist.
        settings: ``integration_steps`` and ``integration_downsize``, if the file does not state them.

    Raises:
        InputError: the file does not hold weights of VoxelMorph's default network, or ``out`` exists.
    """
    check_new(out)
    check_output(out, (".safetensors",))
    if not path.is_file():
        raise InputError(f"no weights at {path}.")
    from ...networks import load_official, read_official, save_model
    from .image_notes import checked
    from .training_images import TrainingImages

    network, (_, config) = load_official(path, **settings), read_official(path)
    told: dict[str, Any] = {"official": {"file": path.name}}  # the shapes of the weights define the configuration
    if "inshape" in config:
        shape = checked("shape", config["inshape"], network.spatial_dims, f"{path}: config.inshape")
        told["images"] = TrainingImages(shape).note()
    write_atomically(out, lambda temporary: save_model(temporary, network, told))
