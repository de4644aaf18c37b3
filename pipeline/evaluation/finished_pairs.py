"""Files that keep each measured test pair, so that a slow method resumes where it was stopped."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...transforms.basics.npz import read_npz
from ..files.text import write_atomically

Measured = tuple[dict[str, Any], dict[str, Any]]
"""A row and the arrays of an example; the arrays are empty if the pair is not an example."""


class FinishedPairs:
    """A folder with one file per measured pair, each written atomically.

    Args:
        folder: the folder; it is created with the first pair.
        of: what registers the pairs, where the trial alone does not tell: the digest of a network's weights.
    """

    def __init__(self, folder: Path, of: str = "") -> None:
        self.folder, self.of = folder, of

    def read(self, index: int, about: Mapping[str, Any]) -> Measured | None:
        """The kept pair with this index; None if it is missing or damaged, or of another trial, pair or network.

        Args:
            index: the pair's index in the list of test pairs.
            about: the values of ``trial``, ``moving`` and ``fixed`` that its row must have.
        """
        try:
            example = read_npz(self._path(index))
            row = json.loads(str(example.pop("row")))
            same = isinstance(row, dict) and str(example.pop("of", "")) == self.of
            same = same and all(row.get(name) == about[name] for name in ("trial", "moving", "fixed"))
        except (OSError, ValueError, KeyError, RecursionError):
            return None
        return (row, example) if same else None

    def write(self, index: int, row: Mapping[str, Any], example: Mapping[str, Any]) -> None:
        """Write the file of a pair.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """

        def write(path: Path) -> None:
            with open(path, "wb") as file:  # given a path, NumPy would append .npz
                np.savez_compressed(file, row=np.array(json.dumps(row)), of=np.array(self.of), **example)

        write_atomically(self._path(index), write)

    def clear(self) -> None:
        """Remove the folder with all its files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:05d}.npz"
