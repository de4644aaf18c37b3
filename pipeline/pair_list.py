"""Reading of a JSON list of pairs of image files: ``[{"moving": "a.nii.gz", "fixed": "b.nii.gz"}, ...]``."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from ..transforms.basics.errors import InputError, quoted
from .cohorts.cohort import check_path, check_text
from .files.text import read_json

KEYS = ("moving", "fixed")
EXPECTED = 'expected [{"moving": "a.nii.gz", "fixed": "b.nii.gz"}, ...]'


def read_pairs(file: str | Path) -> list[dict[str, str]]:
    """Read the pairs of a list as a MONAI data list.

    Args:
        file: the list. Its paths are relative to its folder. An item may have a ``name`` for its results; the default
            is ``<moving>_to_<fixed>``.

    Returns:
        one ``{"moving": path, "fixed": path, "name": name}`` per pair.

    Raises:
        InputError: the file does not exist or is not such a list, an image does not exist, or two pairs have one name.
    """
    file = Path(file)
    items = read_json(file)
    if not isinstance(items, list) or not items:
        raise InputError(f"{file} is not a list of pairs; {EXPECTED}.")
    pairs = [_pair(item, file, f"{file}, pair {number}") for number, item in enumerate(items, 1)]
    names = [pair["name"] for pair in pairs]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f'{file} has two pairs with the name {twice}; give each pair its own "name".')
    return pairs


def _pair(item: Any, file: Path, where: str) -> dict[str, str]:
    if not isinstance(item, dict) or not set(KEYS) <= set(item) <= {*KEYS, "name"}:
        raise InputError(f"{where} is {json.dumps(item)[:100]}; {EXPECTED}.")
    if not all(isinstance(value, str) and value for value in item.values()):
        raise InputError(f"{where} is {json.dumps(item)[:100]}; every value must be text.")
    paths = {key: file.parent / item[key] for key in KEYS}
    for key, path in paths.items():
        check_path(path, where)
        if not path.is_file():
            raise InputError(f"{where}: the {key} image {path} does not exist.")
    stems = [Path(path.name.removesuffix(".gz")).stem for path in paths.values()]
    name = item.get("name", "_to_".join(stems))
    check_text(name, f"{where}: the name")
    if set(name) & set("/\\") or name.startswith("."):
        raise InputError(f"{where}: the name {quoted(name)} cannot be a file name; leave out slashes and a first dot.")
    return {key: str(path) for key, path in paths.items()} | {"name": name}
