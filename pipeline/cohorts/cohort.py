"""Cohorts, their subjects, and the samples that subjects are loaded to."""

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
"""Files up to this size in bytes are hashed completely."""
EDGE = 1 << 16
"""Of a larger file, this many bytes at each end are hashed. A gzip file ends with the checksum of its content."""


@dataclass(frozen=True)
class Subject:
    """One scan. Scans of the same person (repeat scans, duplicates) share a ``group``.

    ``image`` and ``label`` are files; they are None if the reader generates its images (phantom), and ``label`` is None
    without labels. ``id`` and ``group`` are any single line of text, also with blanks and slashes: they appear in
    tables and pictures, but never name a file.

    Raises:
        InputError: an id or a group is not such a line, or a path cannot be that of a file.
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
        """This subject's entry in a MONAI data list, with ``image`` and ``label`` only if they are files."""
        item = {"id": self.id, "group": self.group, "image": self.image, "label": self.label}
        return {key: value for key, value in item.items() if value is not None}

    def __post_init__(self) -> None:
        check_text(self.id, "the id of a subject")
        check_text(self.group, f"the group of subject {self.id}")
        for path in (self.image, self.label):
            if path is not None:
                check_path(path, f"subject {self.id}")


def check_text(text: str, what: str) -> None:
    """Raise InputError for text that is empty, too long or not printable, or that begins or ends with a blank."""
    if not text or len(text) > LONGEST_FILE_NAME or not text.isprintable() or text != text.strip():
        raise InputError(
            f"{what} is {quoted(text)}; expected one line of at most {LONGEST_FILE_NAME} printable characters, without "
            "a blank at its start or end."
        )


def check_path(path: Path, what: str) -> None:
    """Raise InputError for a path that is too long or has a NUL byte, before the system raises its own error."""
    text = os.fsencode(path)
    if b"\0" in text or len(text) > LONGEST_PATH or max(map(len, text.split(b"/"))) > LONGEST_FILE_NAME:
        raise InputError(f"{what} has a file path that is too long or invalid, {quoted(str(path))}; correct it.")


class Sample(TypedDict):
    """A loaded subject: contiguous CPU tensors without metadata."""

    id: str
    image: Tensor
    """(1, *spatial) float32, after intensity scaling and size."""
    label: Tensor | None
    """(1, *spatial) int16, or int32 or int64 if a label value needs it; 0 is the background."""
    landmarks: Tensor | None
    """(N, D) float32, voxel coordinates in this subject's grid, in the same order for all subjects."""
    spacing: tuple[float, ...]
    """mm per voxel, D numbers."""
    axes: str
    """The direction of each grid axis, in nibabel's notation ("RAS"); a slice has the axis across it, too ("LIA")."""


@dataclass(frozen=True)
class Cohort:
    """A set of subjects that can be registered to each other, and the transform that loads them."""

    name: str
    spatial_dims: int
    subjects: tuple[Subject, ...]
    label_names: Mapping[int, str]
    """Name of each label value, without the background 0."""
    declared_split: Mapping[str, tuple[str, ...]] | None
    """The split given by the data itself: ``{"train": ids, "validation": ids, "test": ids}``; test may be absent."""
    transform: Compose
    """Turns an item of the data list into a checked sample; raises InputError."""
    reading: Mapping[str, Any] = field(default_factory=dict)
    """Everything besides the files that decides the result of ``transform``, as plain JSON values."""
    left_out: frozenset[str] = frozenset()
    """Ids of existing subjects that the settings leave out; a list of ids may still name them."""

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(subject.id for subject in self.subjects)

    @property
    def data_list(self) -> list[dict[str, Any]]:
        """The subjects as a MONAI data list: dictionaries with ``id``, ``group``, ``image`` and ``label``."""
        return [subject.item for subject in self.subjects]

    def load(self, subject: Subject) -> Sample:
        """Load the sample of one subject; raises InputError."""
        sample: Any = self.transform(subject.item)
        return sample

    def __getitem__(self, subject_id: str) -> Subject:
        """The subject with this id; InputError if there is none."""
        if subject_id not in self._by_id:
            raise InputError(f"the cohort {self.name} has no subject {subject_id!r}.")
        return self._by_id[subject_id]

    @cached_property
    def _by_id(self) -> dict[str, Subject]:
        return {subject.id: subject for subject in self.subjects}

    def fingerprint(self) -> str:
        """The sha256 of all that decides samples and split: reader settings, label names, ids, groups and files.

        It is fast: for files above 1 MiB, it uses the size and both ends only.

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
    """The sha256 of a file up to 1 MiB; for a larger one, of its size and its first and last 64 KiB.

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
