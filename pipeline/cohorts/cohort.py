"""What a cohort is made of: subjects, the samples they load to, and the cohort that holds them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from ...transforms.basics.bounds import LONGEST_FILE_NAME, LONGEST_PATH
from ...transforms.basics.errors import InputError, quoted

if TYPE_CHECKING:
    from monai.transforms.compose import Compose
    from torch import Tensor

WHOLE_FILE = 1 << 20
"""Files up to this many bytes are hashed whole."""
EDGE = 1 << 16
"""Of larger files, so many bytes of either end are hashed; the end of a gzip file is the checksum of its content."""


@dataclass(frozen=True)
class Subject:
    """One scan. Subjects that show one person (repeat scans, duplicates) share a ``group``.

    ``image`` and ``label`` are files, or None where a reader makes its images (phantom) or has no labels. ``id`` and
    ``group`` are any text of one line, with blanks and slashes too: they stand in tables and pictures, and no file is
    named by them.

    Raises:
        InputError: an id or a group that is no such text, or a path that no file can have.
    """

    id: str
    group: str
    image: Path | None = None
    label: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What else the data say of this scan, by the name of the column: its phase, its slice, its visit."""

    def column(self, name: str) -> str:
        """What stands in a column, ``id`` and ``group`` too; nothing where there is none."""
        return {"id": self.id, "group": self.group}.get(name) or self.columns.get(name, "")

    @property
    def item(self) -> dict[str, Any]:
        """This subject in a MONAI data list; ``image`` and ``label`` only where there are files."""
        item = {"id": self.id, "group": self.group, "image": self.image, "label": self.label}
        return {key: value for key, value in item.items() if value is not None}

    def __post_init__(self) -> None:
        check_text(self.id, "the id of a subject")
        check_text(self.group, f"the group of subject {self.id}")
        for path in (self.image, self.label):
            if path is not None:
                check_path(path, f"subject {self.id}")


def check_text(text: str, what: str) -> None:
    """Raise InputError for a name that is empty, too long, begins or ends with a blank or cannot be printed."""
    if not text or len(text) > LONGEST_FILE_NAME or not text.isprintable() or text != text.strip():
        raise InputError(
            f"{what} is {quoted(text)}; expected one line of at most {LONGEST_FILE_NAME} characters that can be "
            "printed, without blanks around it."
        )


def check_path(path: Path, what: str) -> None:
    """Raise InputError for a path that no file can have, where the system would raise an error of its own."""
    text = os.fsencode(path)
    if b"\0" in text or len(text) > LONGEST_PATH or max(map(len, text.split(b"/"))) > LONGEST_FILE_NAME:
        raise InputError(f"{what} has a file that cannot be, {quoted(str(path))}; correct its path.")


class Sample(TypedDict):
    """What loading a subject yields: contiguous CPU tensors without metadata."""

    id: str
    image: Tensor
    """(1, *spatial) float32, after intensity scaling and size."""
    label: Tensor | None
    """(1, *spatial) int16, or int32 or int64 where one is larger; 0 is the background."""
    landmarks: Tensor | None
    """(N, D) float32, voxel coordinates in this subject's grid, in one order for all subjects."""
    spacing: tuple[float, ...]
    """mm per voxel, D numbers."""
    axes: str
    """Where each axis of the grid leads, as nibabel has it ("RAS"); of a slice with the axis across it ("LIA")."""


@dataclass(frozen=True)
class Cohort:
    """Subjects that can be registered to each other, and how to load them."""

    name: str
    spatial_dims: int
    subjects: tuple[Subject, ...]
    label_names: Mapping[int, str]
    """Without the background 0."""
    declared_split: Mapping[str, tuple[str, ...]] | None
    """The split the data itself states: ``{"train": ids, "validation": ids, "test": ids}``; test may be absent."""
    transform: Compose
    """From an item of the data list to its sample, read and checked; raises InputError."""
    reading: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON values: everything besides the files that decides what ``transform`` returns."""
    left_out: frozenset[str] = frozenset()
    """Ids that exist but that the settings leave out, so that a list of ids may still name them."""

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(subject.id for subject in self.subjects)

    @property
    def data_list(self) -> list[dict[str, Any]]:
        """The subjects as MONAI's datasets take them: dictionaries with ``id``, ``group``, ``image`` and ``label``."""
        return [subject.item for subject in self.subjects]

    def load(self, subject: Subject) -> Sample:
        """The sample of one subject; raises InputError."""
        sample: Any = self.transform(subject.item)
        return sample

    def __getitem__(self, subject_id: str) -> Subject:
        """The subject of this id; InputError if there is none."""
        if subject_id not in self._by_id:
            raise InputError(f"the cohort {self.name} has no subject {subject_id!r}.")
        return self._by_id[subject_id]

    @cached_property
    def _by_id(self) -> dict[str, Subject]:
        return {subject.id: subject for subject in self.subjects}

    def fingerprint(self) -> str:
        """sha256 over what decides the samples and their split: reader settings, label names, ids, groups and files.

        Cheap: of files above 1 MiB only the size and both ends are read.

        Raises:
            InputError: a file cannot be read.
        """
        digest = hashlib.sha256()
        for part in self._parts():
            digest.update(part.encode() + b"\n")
        return digest.hexdigest()

    def _parts(self) -> Iterator[str]:
        names = {str(value): name for value, name in sorted(self.label_names.items())}
        split = {side: sorted(ids) for side, ids in (self.declared_split or {}).items()}
        yield json.dumps([self.name, self.spatial_dims, dict(self.reading), names, split], sort_keys=True)
        for subject in self.subjects:
            files = [file_digest(path) if path else None for path in (subject.image, subject.label)]
            yield json.dumps([subject.id, subject.group, *files])


def file_digest(path: Path) -> str:
    """sha256 of a file: all of it up to 1 MiB, otherwise of its size and its first and last 64 KiB.

    Raises:
        InputError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size <= WHOLE_FILE:
                digest.update(file.read())
            else:
                digest.update(b"%d:" % size + file.read(EDGE))
                file.seek(-EDGE, 2)
                digest.update(file.read())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from None
    return digest.hexdigest()
