"""Samples that are mapped from files instead of held in memory, so that every worker shares one copy.

The operating system keeps what is in use in its page cache and drops it where memory is needed.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files.text import write_atomically
from .cohort import Sample, Subject
from .memory_allocator import return_freed_memory

TENSORS = ("image", "label", "landmarks")


@dataclass(frozen=True)
class MappedLoader:
    """Loads a subject from its file in ``folder``, which the first load makes.

    Args:
        load: of the cohort.
        folder: of samples that are the same wherever they have the same id.
    """

    load: Callable[[Subject], Sample]
    folder: Path

    def __call__(self, subject: Subject) -> Sample:
        """As ``load``, mapped.

        Raises:
            InputError: what ``load`` raises; the folder cannot be written or the disk is full.
        """
        path = self.folder / f"{_file_name(subject.id)}.safetensors"
        with contextlib.suppress(OSError, SafetensorError, KeyError, ValueError):  # not there, or damaged: made again
            return _open(path)
        write_atomically(path, lambda temporary: _save(self.load(subject), temporary))
        return_freed_memory()
        return _open(path)


def _file_name(subject_id: str) -> str:
    """A name that any system takes, of its own for each id: an id may hold slashes, or differ by upper case alone."""
    plain = re.sub("[^A-Za-z0-9_-]+", "_", subject_id)[:60]
    return f"{plain}-{hashlib.sha256(subject_id.encode()).hexdigest()[:16]}"


def _save(sample: Sample, path: Path) -> None:
    tensors = {name: value for name in TENSORS if isinstance(value := sample[name], Tensor)}
    others = {name: value for name, value in sample.items() if name not in TENSORS}
    save_file(tensors, path, metadata={"sample": json.dumps(others)})


def _open(path: Path) -> Sample:
    with safe_open(path, framework="pt") as file:
        others = json.loads(file.metadata()["sample"])
        there = set(file.keys())
        tensors = {name: file.get_tensor(name) if name in there else None for name in TENSORS}
    sample: Any = {**others, "spacing": tuple(others["spacing"]), **tensors}
    return sample
