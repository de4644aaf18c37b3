"""What all readers of cohorts in files share."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ...transforms.basics.bounds import LONGEST_LIST
from ...transforms.basics.errors import InputError, quoted
from ..files.text import read_text
from .cohort import Cohort, Subject, check_text

if TYPE_CHECKING:
    from ..settings.schema import CohortSettings

SIDES = ("train", "validation", "test")


def read_label_table(path: Path) -> dict[int, str]:
    """Read label names from a FreeSurfer-style table: lines ``value name ...``; ``#`` starts a comment.

    Returns:
        value -> name, without the background 0.

    Raises:
        InputError: the file does not exist, or a line has another form.
    """
    named: list[tuple[str, str]] = []
    for line in read_text(path, LONGEST_LIST).splitlines():
        fields = line.partition("#")[0].split()
        if len(fields) == 1:
            raise InputError(f"{path}: {quoted(line.strip())} is not a label value and a name.")
        if fields:
            named.append((fields[0], fields[1]))
    return label_names(path, named)


def label_names(source: Path, named: Iterable[tuple[str, str]]) -> dict[int, str]:
    """The sorted mapping value -> name, without the background 0, from the values and names in a file.

    Metrics need distinct names: if several values have the same name, the value is appended to it.

    Raises:
        InputError: a value is not a whole number from 0 to 2^63 - 1, a name is not a single line of text, or one value
            has two names.
    """
    names: dict[int, str] = {}
    for number, name in named:
        value = int(number) if number.isascii() and number.isdecimal() and len(number) < 20 else -1
        if not 0 <= value < 1 << 63:
            raise InputError(f"{source}: {quoted(f'{number} {name}')} is not a label value and a name.")
        check_text(name, f"{source}: the name of label {value}")
        if names.setdefault(value, name) != name:
            raise InputError(f"{source}: label {value} has two names, {names[value]} and {name}; keep one of them.")
    several = {name for name, count in Counter(names.values()).items() if count > 1}
    return {value: f"{name} {value}" if name in several else name for value, name in sorted(names.items()) if value}


def file_cohort(
    settings: CohortSettings,
    listing: Path,
    subjects: Iterable[Subject],
    names: Mapping[int, str],
    declared_split: Mapping[str, tuple[str, ...]] | None = None,
) -> Cohort:
    """The cohort of ``subjects``, sorted by id, each loaded by :func:`file_transforms`.

    Args:
        settings: settings of the cohort, for loading.
        listing: the file or folder that lists the subjects, for error messages.
        subjects: subjects with an image each; all or none have a label map.
        names: the label names.
        declared_split: the split given by the data.

    Raises:
        InputError: two subjects have the same id, two ids have the same image, or only some subjects have a label.
    """
    subjects = sorted(subjects, key=lambda subject: subject.id)
    _check_distinct(subjects, listing)
    unlabelled = [subject.id for subject in subjects if subject.label is None]
    if 0 < len(unlabelled) < len(subjects):
        raise InputError(
            f"{listing}: subject {unlabelled[0]} has no label but others have; give all subjects a label, or none."
        )
    from .loading import file_transforms  # here, so that mistakes are reported before MONAI is loaded

    return Cohort(
        name=settings.reader,
        spatial_dims=settings.spatial_dims,
        subjects=tuple(subjects),
        label_names=names,
        declared_split=declared_split,
        transform=file_transforms(settings, names),
        reading=settings.model_dump(mode="json", include={"intensity", "size"}),
    )


def _check_distinct(subjects: Sequence[Subject], listing: Path) -> None:
    for one, next_one in pairwise(subjects):
        if one.id == next_one.id:
            raise InputError(f"{listing}: subject {one.id} is listed twice: {one.image} and {next_one.image}.")
    id_of_image: dict[str, str] = {}
    for subject in subjects:
        other = id_of_image.setdefault(os.path.realpath(str(subject.image)), subject.id)
        if other != subject.id:  # the same image could be in training and test under two ids
            raise InputError(
                f"{listing}: {other} and {subject.id} have the same image {subject.image}; give it one id only."
            )
