"""Readers of cohorts that lie in files: each turns a folder into a :class:`Cohort` without opening its images."""

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path

from ..transforms.errors import InputError
from .config import CohortSettings
from .loading import read_subject
from .subjects import Cohort, Subject

NEURITE_IMAGE = {2: "slice_norm.nii.gz", 3: "aligned_norm.nii.gz"}
NEURITE_LABEL = {2: "slice_{}.nii.gz", 3: "aligned_{}.nii.gz"}
NEURITE_LABEL_SETS = {2: ("seg24", "seg4"), 3: ("seg35", "seg4")}
"""The first is the default."""
NEURITE_DUPLICATES = {"OASIS_OAS1_0193": "OASIS_OAS1_0079"}
"""Almost certainly one brain: slice correlation 0.984 where the next pair of subjects has 0.939."""


def read_neurite_oasis(settings: CohortSettings, root: Path) -> Cohort:
    """Neurite-OASIS in its public layout: ``root/OASIS_OAS1_XXXX_MRn/slice_norm.nii.gz`` and so on.

    Scans of one person share a group, and so do the suspected duplicates 0079 and 0193.

    Raises:
        InputError: no subject folders, an unknown label set, or no table of label names.
    """
    dims = settings.spatial_dims
    known = NEURITE_LABEL_SETS[dims]
    labels = settings.labels or known[0]
    if labels not in known:
        raise InputError(f"cohort.labels {labels!r} is unknown; neurite-oasis in {dims}-D has {' and '.join(known)}.")
    folders = sorted(path for path in root.glob("OASIS_OAS1_*_MR*") if path.is_dir())
    if not folders:
        raise InputError(f"{root} holds no subject folders OASIS_OAS1_*_MR*; give the folder that holds them.")
    names = read_label_table(root / f"{labels}_labels.txt")
    subjects = [
        Subject(path.name, _person(path.name), path / NEURITE_IMAGE[dims], path / NEURITE_LABEL[dims].format(labels))
        for path in folders
    ]
    return file_cohort(settings, subjects, names)


def _person(subject_id: str) -> str:
    person = subject_id.rpartition("_MR")[0]
    return NEURITE_DUPLICATES.get(person, person)


def read_label_table(path: Path) -> dict[int, str]:
    """Label names from a FreeSurfer-style table: lines of ``value name ...``, and ``#`` for comments.

    Returns:
        value -> name, without the background 0.

    Raises:
        InputError: no such file, or a line that is not of that form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the label names in {path}: {error}.") from None
    names: dict[int, str] = {}
    for line in lines:
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        if len(fields) < 2 or not fields[0].isdecimal():
            raise InputError(f"{path}: {line.strip()!r} is not a label's number and name.")
        names[int(fields[0])] = fields[1]
    return {value: name for value, name in sorted(names.items()) if value != 0}


def file_cohort(
    settings: CohortSettings,
    subjects: Iterable[Subject],
    names: Mapping[int, str],
    declared_split: Mapping[str, tuple[str, ...]] | None = None,
) -> Cohort:
    """The cohort of ``subjects``, sorted by id, each loaded by :func:`read_subject`.

    Raises:
        InputError: one id stands for two subjects.
    """
    subjects = sorted(subjects, key=lambda subject: subject.id)
    for one, next_one in pairwise(subjects):
        if one.id == next_one.id:
            raise InputError(f"subject {one.id} is listed twice: {one.image} and {next_one.image}.")
    return Cohort(
        name=settings.reader,
        spatial_dims=settings.spatial_dims,
        subjects=tuple(subjects),
        label_names=names,
        declared_split=declared_split,
        load=partial(read_subject, settings=settings, label_names=names),
        reading=settings.model_dump(mode="json", include={"intensity", "size"}),
    )
