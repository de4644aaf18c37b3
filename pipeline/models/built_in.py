"""The models that come with the package; this folder holds the weights and a model card of each."""

from pathlib import Path

from ...transforms.basics.errors import InputError

FOLDER = Path(__file__).parent


def shipped_models() -> dict[str, Path]:
    """The weights files by model name. The model card is next to each, with the ending ``.md``."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}


def advice(axes: int | None = None) -> str:
    """For a message: the shipped models, all or those for images with so many axes. Such names end with ``-2d``."""
    names = [name for name in shipped_models() if axes is None or name.endswith(f"-{axes}d")]
    those = "shipped models" if axes is None else f"shipped models for {axes}-D images"
    return f"{those}: {', '.join(names)} (`smoothmorph models` tells what each was trained on)"


def find_model(path: Path) -> Path:
    """The ``.safetensors`` file for ``path``, which is a trial's folder, a file or the name of a shipped model.

    Raises:
        InputError: there is no such model.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    if file.is_file():
        return file
    shipped = shipped_models()
    if str(path) in shipped:
        return shipped[str(path)]
    found = f"the folder {path} holds no {file.name}" if path.is_dir() else f"no model at {path}"
    raise InputError(f"{found}; give the folder of a trial that trained a network, a file, or a name; {advice()}.")
