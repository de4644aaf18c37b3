"""The models that come with the package: weights and a model card for each, in this folder."""

from pathlib import Path

from ...transforms.basics.errors import InputError

FOLDER = Path(__file__).parent


def shipped_models() -> dict[str, Path]:
    """The weights by name; the card of each stands beside it, as ``.md``."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}


def find_model(path: Path) -> Path:
    """The ``.safetensors`` file that is meant by a trial's folder, a file or the name of a shipped model.

    Raises:
        InputError: there is none.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    if file.is_file():
        return file
    shipped = shipped_models()
    if str(path) in shipped:
        return shipped[str(path)]
    raise InputError(f"no model at {file}; give a trial's folder, a file, or a shipped model: {', '.join(shipped)}.")
