"""A list of pairs of image files, in JSON: ``[{"moving": "a.nii.gz", "fixed": "b.nii.gz"}, ...]``."""

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
    """The pairs of a list, as MONAI's datasets take them.

    Args:
        file: the list; its paths are relative to its own folder. An item may have a ``name``, which the results are
            named by; without one they are named ``<moving>_to_<fixed>``.

    Returns:
        One ``{"moving": path, "fixed": path, "name": name}`` per pair.

    Raises:
        InputError: no such file or list, an image that does not exist, or two pairs of one name.
    """
    file = Path(file)
    items = read_json(file)
    if not isinstance(items, list) or not items:
        raise InputError(f"{file} holds no list of pairs; {EXPECTED}.")
    pairs = [_pair(item, file, f"{file}, pair {number}") for number, item in enumerate(items, 1)]
    names = [pair["name"] for pair in pairs]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f'{file} has two pairs of the name {twice}; tell their results apart by a "name" in each.')
    return pairs


def _pair(item: Any, file: Path, where: str) -> dict[str, str]:
    if not isinstance(item, dict) or not set(KEYS) <= set(item) <= {*KEYS, "name"}:
        raise InputError(f"{where} is {json.dumps(item)[:100]}; {EXPECTED}.")
    if not all(isinstance(value, str) and value for value in item.values()):
        raise InputError(f"{where} is {json.dumps(item)[:100]}; every value must be a text.")
    paths = {key: file.parent / item[key] for key in KEYS}
    for key, path in paths.items():
        check_path(path, where)
        if not path.is_file():
            raise InputError(f"{where}: the {key} image {path} does not exist.")
    stems = [Path(path.name.removesuffix(".gz")).stem for path in paths.values()]
    name = item.get("name", "_to_".join(stems))
    check_text(name, f"{where}: the name")
    if set(name) & set("/\\") or name.startswith("."):
        raise InputError(f"{where}: the name {quoted(name)} must do as a file's name.")
    return {key: str(path) for key, path in paths.items()} | {"name": name}
