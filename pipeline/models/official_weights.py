"""Official VoxelMorph's weights, turned into a model of ours."""

from pathlib import Path
from typing import Any

from ...transforms.basics.errors import InputError
from ..files.text import write_atomically
from ..images.output_paths import check_output


def import_official(path: Path, out: Path, **settings: int) -> None:
    """Turn the weights that official VoxelMorph saved into a ``model.safetensors``.

    Args:
        path: what ``VxmDense.save`` wrote.
        out: the .safetensors file to write; must not exist.
        settings: ``integration_steps`` and ``integration_downsize`` where the file does not tell them.

    Raises:
        InputError: no weights of VoxelMorph's default network, or ``out`` exists.
    """
    if out.exists():
        raise InputError(f"{out} exists; choose another name or remove it.")
    check_output(out, (".safetensors",))
    if not path.is_file():
        raise InputError(f"no weights at {path}.")
    from ...networks import load_official, read_official, save_model
    from .image_notes import checked
    from .training_images import TrainingImages

    network, (_, config) = load_official(path, **settings), read_official(path)
    told: dict[str, Any] = {"official": {"file": path.name}}  # its weights' shapes say what its configuration does
    if "inshape" in config:
        shape = checked("shape", config["inshape"], network.spatial_dims, f"{path}: config.inshape")
        told["images"] = TrainingImages(shape).note()
    write_atomically(out, lambda temporary: save_model(temporary, network, told))
