"""Readers of cohorts that a file lists: the Medical Segmentation Decathlon's ``dataset.json`` and a CSV table."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...transforms.basics.errors import InputError, one_line, quoted
from ..files.csv_tables import read_csv
from ..files.text import read_json
from ..images.reading import read_image
from ..settings.schema import CohortSettings
from .cohort import Cohort, Subject
from .readers import file_cohort, label_names, read_label_table

SIDES = ("train", "validation", "test")
COLUMNS = {"id", "image", "label", "group", "split"}


def read_decathlon(settings: CohortSettings, root: Path) -> Cohort:
    """The labelled (``training``) subjects of a Decathlon task: ``root/dataset.json``, read with MONAI.

    A subject's id is the name of its image file. Images differ in shape: ``settings.size`` pads or crops them.

    In Task04 the images hippocampus_(2k-1) and hippocampus_(2k) share a group: they are almost certainly the two
    hippocampi of one person (394 images of 195 people; in the 200 public labelled ones checked, these pairs correlate
    by 0.70 on average, all other pairs and the pairs (2k, 2k+1) by 0.53).

    Raises:
        InputError: no or malformed ``dataset.json``, or an entry without a label where others have one.
    """
    listing = root / "dataset.json"
    if not listing.is_file():
        raise InputError(f"{listing} does not exist; give the folder of one Decathlon task.")
    read_json(listing)  # within bounds; MONAI reads it without
    from monai.data.decathlon_datalist import load_decathlon_datalist, load_decathlon_properties

    try:
        items = load_decathlon_datalist(listing, is_segmentation=True, data_list_key="training")
        values = load_decathlon_properties(listing, "labels")["labels"]
        named = [(value, str(name).strip()) for value, name in values.items()]
        subjects = [_decathlon_subject(item) for item in items]
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = one_line(error).rstrip(".")
        raise InputError(f"{listing} is not a Decathlon listing with training and labels: {reason}.") from None
    return file_cohort(settings, listing, subjects, label_names(listing, named))


def _decathlon_subject(item: dict[str, Any]) -> Subject:
    image = Path(item["image"])
    name = image.name.removesuffix(".gz").removesuffix(".nii")
    number = re.fullmatch(r"hippocampus_(\d+)", name)
    group = f"hippocampus_person_{(int(number[1]) + 1) // 2:03d}" if number else name
    return Subject(id=name, group=group, image=image, label=Path(item["label"]) if "label" in item else None)


def read_table(settings: CohortSettings, root: Path) -> Cohort:
    """A CSV file with the columns id, image and optionally label, group and split (train, validation, test).

    Paths are relative to the CSV's folder. Label names come from the table of names ``settings.labels`` (lines of
    ``value name``, beside the CSV); without one, every label map is opened and its values are named ``label 1`` ...

    Raises:
        InputError: no such file, a missing or unknown column, an empty cell, an unknown split, an image or id twice.
    """
    if settings.file is None:
        raise InputError("the table reader needs cohort.file, a CSV file relative to the data root.")
    table = root / settings.file
    rows = _read_rows(table)
    try:
        subjects = [
            Subject(
                id=row["id"],
                group=row.get("group") or row["id"],
                image=table.parent / row["image"],
                label=table.parent / row["label"] if row.get("label") else None,
            )
            for row in rows
        ]
    except InputError as error:
        raise InputError(f"{table}: {error}") from None
    if settings.labels is not None:
        names = read_label_table(table.parent / settings.labels)
    else:
        names = _values_found(subjects, settings.spatial_dims)
    return file_cohort(settings, table, subjects, names, _declared(rows, table))


def _read_rows(path: Path) -> list[dict[str, str]]:
    table = read_csv(path)
    if not {"id", "image"} <= set(table.columns) <= COLUMNS:
        raise InputError(
            f"{path} has the columns {table.named}; expected id, image and optionally label, group, split."
        )
    rows = table.dicts()
    for row, found in zip(table.rows, rows, strict=True):
        for column in ("id", "image"):
            if not found[column]:
                raise InputError(f"{path}, line {row.line} has no {column}.")
    return rows


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
        except InputError:  # loading the subject reports it
            continue
        values |= set(label.unique().tolist())
    return {value: f"label {value}" for value in sorted(values) if value != 0}
