"""Writing of the CSV file for the table reader. Files are found by a pattern here, and in BIDS by :mod:`.bids`."""

import glob
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....transforms.basics.errors import InputError
from ...files.csv_tables import write_csv
from ...images.output_paths import TABLES, check_output
from ..cohort import Subject


@dataclass(frozen=True)
class Listing:
    """Subjects that were found by file name; no image has been opened."""

    subjects: tuple[Subject, ...]
    """The subjects; either all or none have a label map."""
    split: Mapping[str, str] = field(default_factory=dict)
    """train, validation or test by subject id, if the data states it."""
    notes: tuple[str, ...] = ()
    """Sentences for the user about subjects or files left out or not found."""

    def summary(self) -> str:
        """A line such as ``20 images of 18 subjects with label maps; split: 12 train, 4 validation, 4 without``."""
        labels = "with" if any(subject.label for subject in self.subjects) else "without"
        count = f"{len(self.subjects)} images of {len({subject.group for subject in self.subjects})} subjects"
        sides = Counter(self.split.get(subject.id, "without") for subject in self.subjects)
        split = ", ".join(f"{number} {side}" for side, number in sides.most_common())
        return f"{count} {labels} label maps; " + (f"split: {split}." if self.split else "no split is declared.")


def find_pattern(images: str, labels: str | None = None) -> Listing:
    """List the files that match a pattern such as ``images/*.nii.gz`` or ``*/t1.nii.gz``; ``*`` matches the id.

    Args:
        images: pattern of the images, relative to the current folder; ``*`` matches any characters except ``/``.
        labels: pattern of the label maps, in which ``*`` is replaced by what it matched; None for no label maps.

    Raises:
        InputError: a pattern has no ``*`` or other wildcards, the numbers of ``*`` differ, no file matches, two files
            have one id, or a label map does not exist.
    """
    for option, pattern in (("--images", images), ("--labels", labels)):
        if pattern is not None and ("*" not in pattern or re.search(r"\*\*|[?\[\]]", pattern)):
            raise InputError(
                f"{option} {pattern!r}: expected a path with * in place of the id, such as 'images/*.nii.gz'."
            )
    pieces = [re.escape(piece) for piece in Path(images).as_posix().split("*")]
    form = re.compile("([^/]+)".join(pieces))
    subjects: dict[str, Subject] = {}
    for path in sorted(Path(name).as_posix() for name in glob.glob(images)):
        match = form.fullmatch(path)
        if match is None:  # * matched no characters
            continue
        stars = list(dict.fromkeys(match.groups()))  # sub-*/sub-*_T1w.nii.gz has one id in two places
        name = "_".join(stars)
        if name in subjects:
            raise InputError(f"--images {images!r} gives {subjects[name].image} and {path} the same id, {name}.")
        label = None if labels is None else _filled(labels, stars if len(stars) == 1 else [*match.groups()], images)
        if label is not None and not label.is_file():
            raise InputError(f"{path} has no label map: {label} does not exist.")
        subjects[name] = Subject(id=name, group=name, image=Path(path), label=label)
    if not subjects:
        raise InputError(f"--images {images!r} matches no file in {Path.cwd()}.")
    return Listing(tuple(subjects.values()))


def _filled(pattern: str, stars: Sequence[str], images: str) -> Path:
    first, *rest = pattern.split("*")
    if len(stars) == 1:
        stars = [*stars] * len(rest)
    if len(stars) != len(rest):
        raise InputError(f"--labels {pattern!r} has * {len(rest)} times, but --images {images!r} has it {len(stars)}.")
    return Path(first + "".join(star + piece for star, piece in zip(stars, rest, strict=True)))


def write_table(listing: Listing, out: Path, overwrite: bool = False) -> Path:
    """Write the CSV file with id, image, label (if any), group and split (if any). Paths are relative to its folder.

    Raises:
        InputError: the file exists and ``overwrite`` is not set, it is a file in the listing, or it cannot be written.
    """
    check_output(out, TABLES, (path for subject in listing.subjects for path in (subject.image, subject.label)))
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists; give another --out, or --overwrite to replace it.")
    labelled = any(subject.label is not None for subject in listing.subjects)
    columns = ["id", "image", *["label"] * labelled, "group", *["split"] * bool(listing.split)]
    rows = [
        {
            "id": subject.id,
            "image": _from(out, subject.image),
            "label": _from(out, subject.label),
            "group": subject.group,
            "split": listing.split.get(subject.id, ""),
        }
        for subject in listing.subjects
    ]
    import pandas as pd

    return write_csv(out, pd.DataFrame(rows, columns=columns))


def _from(out: Path, path: Path | None) -> str:
    """A path as written in the table; InputError for a name that a table cell would change."""
    if path is None:
        return ""
    try:
        relative = Path(os.path.relpath(path, out.parent)).as_posix()
    except ValueError:  # on another drive
        relative = path.resolve().as_posix()
    if relative != relative.strip():
        raise InputError(f"{path} begins or ends with a blank, which a table would lose; rename the file.")
    return relative
