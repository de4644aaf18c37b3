"""The reader of a CSV table of subjects, whose images may be in any folder."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ....transforms.basics.errors import InputError, naming, quoted
from ....transforms.basics.options import Option
from ...files.csv_tables import Table, read_csv
from ...images.reading import read_image
from ...settings.vocabulary import READERS, ReaderEntry
from ..cohort import Cohort, Subject
from ..file_cohort import SIDES, file_cohort, read_label_table

if TYPE_CHECKING:
    from ...settings.schema import CohortSettings

COLUMNS = ("id", "image", "label", "group", "split")
"""What the reader understands; further columns are kept for the choice of pairs."""
READERS.add(
    ReaderEntry(
        name="table",
        title="a table of subjects",
        meaning="subjects listed in a CSV table",
        source="the user's own images, listed in a table",
        target=f"{__name__}:read_table",
        options=(
            Option(
                name="file", kind=str, meaning="CSV file of the subjects, relative to the data root", always_in_id=True
            ),
            Option(
                name="labels",
                kind=str,
                meaning="file of label names, beside the CSV file; null: label and its value",
                always_in_id=True,
            ),
        ),
        place=3,
    )
)


def read_table(settings: CohortSettings, root: Path) -> Cohort:
    """The cohort in a CSV file with columns id, image and optionally label, group, split (train, validation, test).

    Further columns, such as a phase, a slice or a visit, are kept as text. ``pairs.match``, ``pairs.moving`` and
    ``pairs.fixed`` refer to them.

    Paths are relative to the CSV's folder. ``settings.labels`` is a file in that folder with lines ``value name``.
    Without it, every label map is opened and its values are named ``label 1``, ``label 2`` and so on.

    Raises:
        InputError: the file does not exist, a column is missing or its name looks misspelled, an id or image cell is
            empty, a split is unknown, or an image or id is listed twice.
    """
    if settings.file is None:
        raise InputError("the table reader needs cohort.file, the path of a CSV file relative to the data root.")
    table = root / settings.file
    rows = _read_rows(table)
    with naming(table):
        subjects = [
            Subject(
                id=row["id"],
                group=row.get("group") or row["id"],
                image=table.parent / row["image"],
                label=table.parent / row["label"] if row.get("label") else None,
                columns={name: text for name, text in row.items() if name not in COLUMNS},
            )
            for row in rows
        ]
    if settings.labels is not None:
        names = read_label_table(table.parent / settings.labels)
    else:
        names = _values_found(subjects, settings.spatial_dims)
    return file_cohort(settings, table, subjects, names, _declared(rows, table))


def _read_rows(path: Path) -> list[dict[str, str]]:
    table = read_csv(path)
    if not {"id", "image"} <= set(table.columns):
        raise InputError(
            f"{path} has the columns {table.named}; expected id, image and optionally label, group, split."
        )
    _check_names(table)
    rows = table.dicts()
    for row, found in zip(table.rows, rows, strict=True):
        for column in ("id", "image"):
            if not found[column]:
                raise InputError(f"{path}, line {row.line} has no {column}.")
    return rows


def _check_names(table: Table) -> None:
    """Raise InputError for a further column that was meant for one that the reader understands and does not find."""
    missing = [name for name in COLUMNS if name not in table.columns]
    for name in table.columns:
        meant = difflib.get_close_matches(name.lower(), missing, n=1, cutoff=0.8) if name not in COLUMNS else []
        if meant:
            raise InputError(
                f"{table.path} has a column {quoted(name)} and none of the name {meant[0]}; rename it to {meant[0]}, "
                "or give it a name that is less like it."
            )


def _declared(rows: Iterable[dict[str, str]], table: Path) -> dict[str, tuple[str, ...]] | None:
    split: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        side = row.get("split", "")
        if side and side not in SIDES:
            known = ", ".join(SIDES)
            raise InputError(f"{table}: subject {row['id']} has split {quoted(side)}, expected {known} or nothing.")
        if side:
            split[side].append(row["id"])
    return {side: tuple(sorted(ids)) for side, ids in split.items()} or None


def _values_found(subjects: Iterable[Subject], spatial_dims: int) -> dict[int, str]:
    values: set[int] = set()
    for subject in subjects:
        if subject.label is None:
            continue
        try:
            label, _ = read_image(subject.label, spatial_dims, labels=True)
        except InputError:  # loading this subject will report it
            continue
        values |= set(label.unique().tolist())
    return {value: f"label {value}" for value in sorted(values) if value != 0}
