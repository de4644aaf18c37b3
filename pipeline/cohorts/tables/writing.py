"""Making the CSV file that the table reader reads: of files that a pattern finds; :mod:`.bids` makes it from BIDS."""

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
    """Subjects that were found, before anybody has opened an image."""

    subjects: tuple[Subject, ...]
    """With labels all, or none."""
    split: Mapping[str, str] = field(default_factory=dict)
    """train, validation or test by subject id, where the data says so."""
    notes: tuple[str, ...] = ()
    """Sentences about what was left out or not found."""

    def summary(self) -> str:
        """``20 images of 18 subjects with label maps; split: 12 train, 4 validation, 4 without``."""
        labels = "with" if any(subject.label for subject in self.subjects) else "without"
        count = f"{len(self.subjects)} images of {len({subject.group for subject in self.subjects})} subjects"
        sides = Counter(self.split.get(subject.id, "without") for subject in self.subjects)
        split = ", ".join(f"{number} {side}" for side, number in sides.most_common())
        return f"{count} {labels} label maps; " + (f"split: {split}." if self.split else "no split is declared.")


def find_pattern(images: str, labels: str | None = None) -> Listing:
    """The files that match a pattern such as ``images/*.nii.gz`` or ``*/t1.nii.gz``: what ``*`` stands for is the id.

    Args:
        images: the pattern, relative to the current folder; ``*`` stands for any characters but a folder's end.
        labels: another one, filled with what ``*`` stood for; None for no label maps.

    Raises:
        InputError: a pattern without ``*`` or with other wildcards, labels with another number of ``*``, nothing
            found, one id twice, or a label map that is not there.
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
        if match is None:  # * stood for nothing
            continue
        stars = list(dict.fromkeys(match.groups()))  # sub-*/sub-*_T1w.nii.gz has one id in two places
        name = "_".join(stars)
        if name in subjects:
            raise InputError(f"--images {images!r} gives {subjects[name].image} and {path} one id, {name}.")
        label = None if labels is None else _filled(labels, stars if len(stars) == 1 else [*match.groups()], images)
        if label is not None and not label.is_file():
            raise InputError(f"{path} has no label map: {label} does not exist.")
        subjects[name] = Subject(id=name, group=name, image=Path(path), label=label)
    if not subjects:
        raise InputError(f"--images {images!r} finds no file from {Path.cwd()}.")
    return Listing(tuple(subjects.values()))


def _filled(pattern: str, stars: Sequence[str], images: str) -> Path:
    first, *rest = pattern.split("*")
    if len(stars) == 1:
        stars = [*stars] * len(rest)
    if len(stars) != len(rest):
        raise InputError(f"--labels {pattern!r} has {len(rest)} times *, --images {images!r} has {len(stars)}.")
    return Path(first + "".join(star + piece for star, piece in zip(stars, rest, strict=True)))


def write_table(listing: Listing, out: Path, overwrite: bool = False) -> Path:
    """Write the CSV file: id, image, label (if there are any), group, split (if declared); paths from its folder.

    Raises:
        InputError: the file exists and ``overwrite`` is not set, it is one of the listing's, or it cannot be written.
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
    """A path as the table has it; names that a cell cannot hold unchanged are refused."""
    if path is None:
        return ""
    try:
        relative = Path(os.path.relpath(path, out.parent)).as_posix()
    except ValueError:  # on another drive
        relative = path.resolve().as_posix()
    if relative != relative.strip():
        raise InputError(f"{path} begins or ends with a blank, which a table does not keep; rename it.")
    return relative
