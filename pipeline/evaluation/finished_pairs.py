"""Test pairs that are measured, kept one by one, so that a slow method goes on where it was stopped."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...transforms.basics.npz import read_npz
from ..files.text import write_atomically

Measured = tuple[dict[str, Any], dict[str, Any]]
"""A row, and the arrays of an example; empty for the pairs that are none."""


class FinishedPairs:
    """A file per pair in a folder of their own, each written atomically.

    Args:
        folder: made with the first pair.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, index: int, about: Mapping[str, Any]) -> Measured | None:
        """The pair of this place in the list; None if it is not there whole, or of another trial or pair.

        Args:
            about: ``trial``, ``moving`` and ``fixed``, which its row must have.
        """
        try:
            example = read_npz(self._path(index))
            row = json.loads(str(example.pop("row")))
            same = isinstance(row, dict) and all(row.get(name) == about[name] for name in ("trial", "moving", "fixed"))
        except (OSError, ValueError, KeyError, RecursionError):
            return None
        return (row, example) if same else None

    def write(self, index: int, row: Mapping[str, Any], example: Mapping[str, Any]) -> None:
        """Keep a pair.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """

        def write(path: Path) -> None:
            with open(path, "wb") as file:  # a path without .npz would get that ending
                np.savez_compressed(file, row=np.array(json.dumps(row)), **example)

        write_atomically(self._path(index), write)

    def clear(self) -> None:
        """Remove them all."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:05d}.npz"
