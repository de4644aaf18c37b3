"""A BIDS folder as a list of subjects: images with one suffix, their label maps, and the split in participants.tsv.

Only the file names of the Brain Imaging Data Structure (Gorgolewski et al., Scientific Data 2016) are used:
``sub-01_ses-2_run-1_T1w.nii.gz`` has entities (key and value) and a suffix. PyBIDS would add a database as a
dependency and index every file in it, and ambiguous cases would still need the user's choice.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....transforms.basics.errors import InputError, quoted
from ...files.csv_tables import read_csv
from ..cohort import Subject
from ..file_cohort import SIDES
from .writing import Listing

NAME = re.compile(r"(sub-[A-Za-z0-9+]+(?:_[A-Za-z]+-[A-Za-z0-9+]+)*)_([A-Za-z0-9]+)\.nii(?:\.gz)?")
SCAN = ("sub", "ses", "run")
"""Entities that identify a scan; files of one scan can differ in all others."""
DERIVED = ("desc", "space", "res")
"""Entities that only derivatives have."""
FREE = ("desc", "atlas", "seg", "label")
"""Entities of a label map that its image does not have."""
NATIVE = ("", "orig")
"""Values of ``space`` that mean the image's own space; so does the image's suffix, as T1w."""


@dataclass(frozen=True)
class BidsFile:
    """A NIfTI file with the parts of its name."""

    path: Path
    entities: Mapping[str, str]
    suffix: str

    @property
    def scan(self) -> str:
        """The id of its scan, which is also the row's id, such as ``sub-01_ses-2``."""
        return "_".join(f"{key}-{self.entities[key]}" for key in SCAN if key in self.entities)


@dataclass(frozen=True)
class BidsQuery:
    """The choice of files.

    ``entities`` and ``label_entities`` give the required value of entities of images and label maps; "" means that the
    entity must be absent. If ``entities`` has one that only derivatives have (``desc``, ``space``, ``res``), the images
    are taken from ``derivatives``.
    """

    suffix: str = "T1w"
    derivatives: Path | None = None
    entities: Mapping[str, str] = field(default_factory=dict)
    label_entities: Mapping[str, str] = field(default_factory=dict)
    labels: bool = True
    split_column: str | None = None
    exclude: frozenset[str] = frozenset()


def find_bids(root: Path, query: BidsQuery) -> Listing:
    """List one subject per scan (subject, session, run); the scans of one person form a group.

    A label map is a ``dseg`` of the same scan and space, next to the image or in the derivatives.

    Raises:
        InputError: the folder does not exist, no image has the suffix, a scan has several images or label maps, only
            some scans have label maps, participants.tsv is faulty, an excluded scan is unknown, all scans are excluded,
            or a file does not exist.
    """
    folder = root
    if query.derivatives is not None and any(query.entities.get(key) for key in DERIVED):
        folder = query.derivatives
    files = _scan(folder)
    images = _choose_images(files, folder, query)
    unknown = sorted(set(query.exclude) - {image.scan for image in images})
    if unknown:
        raise InputError(f"--exclude {unknown[0]}: there is no such scan; scans are named like {images[0].scan}.")
    images = [image for image in images if image.scan not in query.exclude]
    if not images:
        raise InputError(f"--exclude leaves no scan of {folder}; exclude fewer.")
    labels: dict[str, BidsFile] = {}
    if query.labels:
        places = {place: None for place in (folder, query.derivatives) if place is not None}
        labels = _choose_labels(images, [file for place in places for file in _scan(place)], query)
    for file in (*images, *labels.values()):
        if not file.path.is_file():
            raise InputError(f"{file.path} is a link to a missing file; fetch the file (datalad get) and try again.")
    subjects = [
        Subject(
            id=image.scan,
            group=f"sub-{image.entities['sub']}",
            image=image.path,
            label=labels[image.scan].path if labels else None,
        )
        for image in images
    ]
    split = _read_split(root, query.split_column, subjects)
    return Listing(tuple(subjects), split, tuple(_notes(root, query, subjects, folder)))


def _scan(folder: Path) -> list[BidsFile]:
    """The NIfTI files of all subjects that have BIDS names."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder.")
    people = sorted(path for path in folder.glob("sub-*") if path.is_dir())
    if not people:
        hint = "; give one of the data sets in it" if any(folder.glob("*/sub-*")) else ""
        raise InputError(f"{folder} is not a BIDS data set: it has no folders sub-*{hint}.")
    files = []
    for path in sorted(path for person in people for path in person.rglob("*.nii*")):
        match = NAME.fullmatch(path.name)
        if match is not None:
            entities = dict(part.split("-") for part in match[1].split("_"))
            files.append(BidsFile(path, entities, match[2]))
    return files


def _choose_images(files: Sequence[BidsFile], folder: Path, query: BidsQuery) -> list[BidsFile]:
    wanted = query.entities
    images = [file for file in files if file.suffix == query.suffix and _has(file, wanted)]
    if not images:
        found = Counter(file.suffix for file in files)
        there = ", ".join(f"{suffix} ({count})" for suffix, count in found.most_common(8)) or "no NIfTI files"
        which = "".join(f" with {key}-{value}" if value else f" without {key}" for key, value in wanted.items())
        raise InputError(f"{folder} has no {query.suffix} images{which}; it has {there}.")
    return [_only(scan, query.suffix, "--desc or --entity") for scan in _by_scan(images).values()]


def _choose_labels(images: Sequence[BidsFile], files: Iterable[BidsFile], query: BidsQuery) -> dict[str, BidsFile]:
    wanted = query.label_entities
    candidates = _by_scan(file for file in files if file.suffix == "dseg" and _has(file, wanted))
    labels: dict[str, BidsFile] = {}
    for image in images:
        own = [file for file in candidates.get(image.scan, ()) if _belongs(file, image)]
        if own:
            labels[image.scan] = _only(own, "dseg", "--label-entity")
    without = [image.scan for image in images if image.scan not in labels]
    if labels and without:
        have, names = "have" if without[1:] else "has", ", ".join(without[:5]) + (" ..." if without[5:] else "")
        raise InputError(
            f"{len(without)} of {len(images)} scans {have} no label map (dseg) in the image's space: {names}; "
            "add the missing label maps, leave out these scans with --exclude, or use no label maps with --no-labels."
        )
    return labels


def _has(file: BidsFile, wanted: Mapping[str, str]) -> bool:
    return all(file.entities.get(key, "") == value for key, value in wanted.items())


def _belongs(label: BidsFile, image: BidsFile) -> bool:
    """Whether the label map has the scan and the grid of the image, according to the file names."""

    def place(file: BidsFile) -> dict[str, str]:
        others = {key: value for key, value in file.entities.items() if key not in FREE}
        if others.get("space", "") in (*NATIVE, image.suffix):
            others.pop("space", None)
        return others

    return place(label) == place(image)


def _by_scan(files: Iterable[BidsFile]) -> dict[str, list[BidsFile]]:
    scans: dict[str, list[BidsFile]] = defaultdict(list)
    for file in files:
        scans[file.scan].append(file)
    return scans


def _only(files: Sequence[BidsFile], what: str, options: str) -> BidsFile:
    if len(files) == 1:
        return files[0]
    keys = dict.fromkeys(key for file in files for key in file.entities)
    differing = [key for key in keys if len({file.entities.get(key) for file in files}) > 1]
    names = ", ".join(sorted(file.path.name for file in files))
    how = f"they differ in {', '.join(differing)}: choose by {options}" if differing else "remove all but one"
    raise InputError(f"{files[0].scan} has {len(files)} {what} files, {names}; {how}.")


def _read_split(root: Path, column: str | None, subjects: Sequence[Subject]) -> dict[str, str]:
    """The side of each subject by id, from a column of participants.tsv (default: ``split``, if it exists)."""
    path = root / "participants.tsv"
    if not path.is_file():
        if column is not None:
            raise InputError(f"--split-column {column}: {path} does not exist.")
        return {}
    table = read_csv(path, tabs=True)
    if column is None and "split" not in table.columns:
        return {}
    wanted = column or "split"
    if not {"participant_id", wanted} <= set(table.columns):
        raise InputError(f"{path} has the columns {table.named}; participant_id and {wanted} are needed.")
    sides: dict[str, str] = {}
    for number, row in zip((row.line for row in table.rows), table.dicts(), strict=True):
        side = row[wanted].lower()
        if side not in (*SIDES, "", "n/a"):
            known = ", ".join(SIDES)
            raise InputError(f"{path}, line {number} has {wanted} {quoted(row[wanted])}; expected {known} or n/a.")
        person = "sub-" + row["participant_id"].removeprefix("sub-")
        if sides.setdefault(person, side) != side:
            raise InputError(
                f"{path}, line {number} has {person} with {wanted} {quoted(row[wanted])}, but an earlier line says "
                f"{sides[person] or 'n/a'!r}; keep one of them."
            )
    chosen = {subject.id: sides.get(subject.group, "") for subject in subjects}
    return {name: side for name, side in chosen.items() if side in SIDES}


def _notes(root: Path, query: BidsQuery, subjects: Sequence[Subject], folder: Path) -> Iterable[str]:
    there = {subject.group for subject in subjects} | {name.split("_")[0] for name in query.exclude}
    people = {path.name for path in folder.glob("sub-*") if path.is_dir()}
    if folder != root and root.is_dir():
        people |= {path.name for path in root.glob("sub-*") if path.is_dir()}
    without = sorted(people - there)
    if without:
        names = ", ".join(without[:5]) + (" ..." if without[5:] else "")
        yield f"{len(without)} of {len(people)} subjects have no such image and are left out: {names}."
    if query.labels and all(subject.label is None for subject in subjects):
        yield "There are no label maps (dseg) in the space of the images: Dice will not be measured."
