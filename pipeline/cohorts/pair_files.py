"""Lists of pairs in a file: a CSV table, or JSON in the form of the Learn2Reg challenge."""

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ...transforms.basics.errors import InputError, did_you_mean, quoted
from ..files.csv_tables import read_csv
from ..files.text import read_json
from .cohort import Cohort

ROLES = ("moving", "fixed")
LISTS = ("training_paired_images", "registration_val", "registration_test")
"""The lists of pairs in a ``*_dataset.json`` of Learn2Reg (Hering et al. 2023, IEEE TMI 42:697)."""
EXPECTED = f'expected [{{"moving": ..., "fixed": ...}}, ...] or an object with one of {", ".join(LISTS)}'


class Listed(NamedTuple):
    """A pair as a file names it: ids of the cohort, or image files relative to the list's folder."""

    where: str
    moving: str
    fixed: str


def read_listed(file: Path) -> list[Listed]:
    """The pairs of a CSV file with the columns moving and fixed, or of a JSON file.

    JSON is a list of objects with the keys moving and fixed, or a data set's description of Learn2Reg, of which all
    lists of pairs are read: the split of the study, not the list, decides what trains and what tests.

    Raises:
        InputError: no such file, another ending or form, or no pair in it.
    """
    readers = {".csv": _of_table, ".json": _of_json}
    if file.suffix.lower() not in readers:
        raise InputError(f"pairs.file is {file}; expected a file that ends in .csv or .json.")
    pairs = list(readers[file.suffix.lower()](file))
    if not pairs:
        raise InputError(f"{file} lists no pair.")
    return pairs


def _of_table(file: Path) -> Iterator[Listed]:
    table = read_csv(file)
    if not set(ROLES) <= set(table.columns):
        raise InputError(f"{file} has the columns {table.named}; expected moving and fixed.")
    for row, found in zip(table.rows, table.dicts(), strict=True):
        where = f"{file}, line {row.line}"
        for role in ROLES:
            if not found[role]:
                raise InputError(f"{where} has no {role} scan.")
        yield Listed(where, found["moving"], found["fixed"])


def _of_json(file: Path) -> Iterator[Listed]:
    content = read_json(file)
    lists = {"": content} if isinstance(content, list) else _learn2reg(content, file)
    for name, items in lists.items():
        if not isinstance(items, list):
            raise InputError(f"{file}: {name} is {quoted(items)}; {EXPECTED}.")
        for number, item in enumerate(items, 1):
            where = f"{file}, {name + ', ' if name else ''}pair {number}"
            if not isinstance(item, dict) or not all(isinstance(item.get(role), str) and item[role] for role in ROLES):
                raise InputError(f"{where} is {json.dumps(item)[:100]}; {EXPECTED}.")
            yield Listed(where, item["moving"], item["fixed"])


def _learn2reg(content: Any, file: Path) -> dict[str, Any]:
    found = {name: content[name] for name in LISTS if name in content} if isinstance(content, dict) else {}
    if not found:
        keys = f"an object with the keys {quoted(list(content))}" if isinstance(content, dict) else quoted(content)
        raise InputError(f"{file} is {keys}; {EXPECTED}.")
    return found


class Ids:
    """Finds the subject that a list of pairs means, by its id, its image's path, or its image's name.

    Args:
        cohort: the subjects.
        folder: of the list; paths are relative to it.
    """

    def __init__(self, cohort: Cohort, folder: Path) -> None:
        self.cohort, self.folder, self.known = cohort, folder, {*cohort.ids, *cohort.left_out}
        images = {subject.id: subject.image for subject in cohort.subjects if subject.image is not None}
        self.by_path = {os.path.realpath(image): subject_id for subject_id, image in images.items()}
        self.by_name: dict[str, set[str]] = defaultdict(set)
        for subject_id, image in images.items():
            self.by_name[_stem(image.name)].add(subject_id)

    def find(self, text: str, where: str) -> str:
        """The id; InputError with the nearest one if there is no such subject."""
        if text in self.known:
            return text
        path, stem = os.path.realpath(self.folder / text), _stem(Path(text).name)
        named = self.by_name.get(stem, set())
        found = self.by_path.get(path) or (stem if stem in self.known else next(iter(named)) if len(named) == 1 else "")
        if not found:
            hint = did_you_mean(text, self.known) or did_you_mean(stem, self.known)
            hint = hint.rstrip() or "expected ids or image files of the cohort."
            raise InputError(
                f"{where} names {quoted(text)}, which the cohort {self.cohort.name} of {len(self.cohort.subjects)} "
                f"subjects does not have; {hint}"
            )
        return found


def _stem(name: str) -> str:
    return Path(name.removesuffix(".gz")).stem
