"""The split of a cohort into training, validation and test subjects, and their pairs. No image is opened here."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import yaml

from ...transforms.basics.bounds import LONGEST_LIST
from ...transforms.basics.errors import InputError, quoted
from ..files.text import read_text
from ..settings.schema import SplitSettings
from .cohort import Cohort
from .file_cohort import SIDES

Pair = tuple[str, str]
"""(moving id, fixed id)."""


@dataclass(frozen=True)
class Split:
    """Sorted subject ids of each side. ``test`` equals ``validation`` if the split has no test side of its own."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def split_cohort(cohort: Cohort, settings: SplitSettings, root: Path | None = None) -> Split:
    """Split a cohort into sides without dividing a group. A side whose fraction is 0 is empty.

    ``settings.source`` says how: ``fractions`` at random by seed, ``files`` by text files of ids, ``declared`` by the
    data itself, ``published`` as in the VoxelMorph Smoothness Study on Neurite-OASIS. That study had no test side: if
    ``settings.test`` is a number, that fraction of its validation subjects, drawn by seed, becomes the test side.

    Args:
        cohort: subjects and groups.
        settings: the section ``split``.
        root: folder of the data, to which files of ids are relative.

    Raises:
        InputError: a side has fewer than two subjects (also test, unless ``settings.test`` is None), a subject or
            group is on two sides, an id is unknown, or fractions are not between 0 and 1 or add up to more than 1.
    """
    if settings.source == "fractions":
        sides = _by_fractions(cohort, settings)
    elif settings.source == "files":
        sides = _from_files(settings, root)
    elif settings.source == "published":
        sides = _published(settings)
    else:
        sides = cohort.declared_split
        if not sides:
            raise InputError(f"split.source is declared, but the cohort {cohort.name} declares no split.")
    if settings.test is None:
        sides = {side: ids for side, ids in sides.items() if side != "test"}
    sides = {side: _known(ids, cohort, side) for side, ids in sides.items()}
    _check_disjoint(sides, cohort, settings.source)
    for side in ("train", "validation", *(["test"] if settings.test is not None else [])):
        count = len(sides.get(side, ()))
        if count < 2 and not _is_left_empty(settings, side):
            otherwise = ", or set split.test=null to test on the validation subjects" if side == "test" else ""
            raise InputError(
                f"split.{side} has {count} of the cohort's {len(cohort.subjects)} subjects; "
                f"at least two are needed to make pairs{otherwise}."
            )
    return Split(sides["train"], sides["validation"], sides.get("test", sides["validation"]))


def _by_fractions(cohort: Cohort, settings: SplitSettings) -> Mapping[str, Sequence[str]]:
    fractions = {side: _fraction(settings, side) for side in SIDES if getattr(settings, side) is not None}
    if sum(fractions.values()) > 1 + 1e-9:
        raise InputError(f"the fractions of split add up to {sum(fractions.values()):g}, which exceeds 1.")
    members: dict[str, list[str]] = {}
    for subject in cohort.subjects:
        members.setdefault(subject.group, []).append(subject.id)
    groups = [sorted(members)[index] for index in permutation(len(members), settings.seed)]
    sides, start, total = {}, 0, 0.0
    for side, fraction in fractions.items():
        total += fraction
        stop = _rounded(total * len(groups))
        sides[side] = [subject_id for group in groups[start:stop] for subject_id in members[group]]
        start = stop
    return sides


def permutation(count: int, seed: int) -> np.ndarray:
    """The numbers 0 to ``count - 1`` in random order: a function of ``seed``, the same in every version of NumPy."""
    # NumPy guarantees the raw numbers of a bit generator for all versions, but not the result of Generator.permutation
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


def _from_files(settings: SplitSettings, root: Path | None) -> Mapping[str, Sequence[str]]:
    sides = {}
    for side in SIDES:
        name = getattr(settings, side)
        if name is None:
            continue
        if not isinstance(name, str):
            raise InputError(
                f"split.{side} is {quoted(name)}; with split.source files it must be the name of a text file of ids."
            )
        lines = read_text((root or Path()) / name, LONGEST_LIST).splitlines()
        sides[side] = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return sides


def _published(settings: SplitSettings) -> Mapping[str, Sequence[str]]:
    package = __name__.rpartition(".")[0]
    sides = yaml.safe_load((files(package) / "splits" / "published.yaml").read_text(encoding="utf-8"))
    if settings.test is None:
        return sides
    held_out = sides["validation"]
    tested = _rounded(_fraction(settings, "test") * len(held_out))
    order = [held_out[index] for index in permutation(len(held_out), settings.seed)]
    return {**sides, "validation": order[tested:], "test": order[:tested]}


def _fraction(settings: SplitSettings, side: str) -> float:
    value = getattr(settings, side)
    if isinstance(value, str) or not (0 < value <= 1 or _is_left_empty(settings, side)):
        raise InputError(
            f"split.{side} is {value!r}; with split.source {settings.source} it must be a number between 0 and 1."
        )
    return value


def _is_left_empty(settings: SplitSettings, side: str) -> bool:
    """Whether a side is 0 on purpose. Only a training needs the sides that may be; a test side is always needed."""
    is_tested = side == "test" or (side == "validation" and settings.test is None)
    return getattr(settings, side) == 0 and not is_tested


def _rounded(count: float) -> int:
    """Round to the nearest whole number, halves up, in the same way on all platforms."""
    return int(count + 0.5 + 1e-9)


def _known(ids: Iterable[str], cohort: Cohort, side: str) -> tuple[str, ...]:
    """The ids in order, without those that the cohort's settings leave out; InputError for unknown or repeated ids."""
    ids = sorted(ids)
    for one, next_one in pairwise(ids):
        if one == next_one:
            raise InputError(f"split.{side} lists subject {quoted(one)[1:-1]} twice.")
    unknown = sorted(set(ids) - set(cohort.ids) - cohort.left_out)
    if unknown:
        raise InputError(
            f"split.{side} lists {quoted(unknown[0])}{f' and {len(unknown) - 1} more' if unknown[1:] else ''}, "
            f"which the cohort {cohort.name} of {len(cohort.subjects)} subjects does not have."
        )
    return tuple(subject_id for subject_id in ids if subject_id not in cohort.left_out)


def _check_disjoint(sides: Mapping[str, Sequence[str]], cohort: Cohort, source: str) -> None:
    side_of_subject: dict[str, str] = {}
    side_of_group: dict[str, tuple[str, str]] = {}
    for side, ids in sides.items():
        for subject_id in ids:
            other = side_of_subject.setdefault(subject_id, side)
            if other != side:
                raise InputError(
                    f"split.source {source}: subject {subject_id} is on two sides of the split, {other} and {side}."
                )
            group = cohort[subject_id].group
            first, first_side = side_of_group.setdefault(group, (subject_id, side))
            if first_side != side:
                raise InputError(
                    f"split.source {source}: group {group} is on two sides of the split: {first} in {first_side} and "
                    f"{subject_id} in {side}."
                )


def frozen_pairs(ids: Iterable[str], count: int, seed: int) -> tuple[Pair, ...]:
    """Draw ordered pairs of distinct subjects, no pair twice. The result is the same for any order of ``ids``.

    Args:
        ids: subject ids.
        count: number of pairs; all n (n - 1) pairs if there are fewer.
        seed: random seed.

    Raises:
        InputError: there are fewer than two subjects.
    """
    ids = sorted(set(ids))
    total = len(ids) * (len(ids) - 1)
    if total == 0:
        raise InputError(f"{len(ids)} subject(s) make no pairs; at least two subjects are needed.")
    pairs, moved = [], {}
    raw = np.random.PCG64(seed).random_raw(min(count, total))
    for index, number in enumerate(raw):  # the first steps of a Fisher-Yates shuffle of all pairs
        chosen = index + int(number) % (total - index)
        code = moved.get(chosen, chosen)
        moved[chosen] = moved.get(index, index)
        moving, fixed = divmod(code, len(ids) - 1)
        pairs.append((ids[moving], ids[fixed + (fixed >= moving)]))
    return tuple(pairs)


def pairs_hash(pairs: Iterable[Pair]) -> str:
    """The sha256 of the pairs in their order, as lines ``moving<tab>fixed``."""
    return hashlib.sha256("".join(f"{moving}\t{fixed}\n" for moving, fixed in pairs).encode()).hexdigest()


def training_pairs(ids: Sequence[str], count: int, seed: int, epoch: int) -> list[Pair]:
    """Draw the ordered training pairs of one epoch; pairs may repeat, the two subjects of a pair are distinct.

    The result depends on the arguments only, so a resumed trial draws the same pairs as an uninterrupted one.

    Args:
        ids: at least two subject ids.
        count: number of pairs: steps per epoch times batch size.
        seed: random seed.
        epoch: number of the epoch.

    Raises:
        InputError: there are fewer than two subjects.
    """
    if len(ids) < 2:
        raise InputError(f"{len(ids)} subject(s) make no pairs; at least two subjects are needed.")
    generator = np.random.default_rng([seed, epoch])
    moving = generator.integers(len(ids), size=count)
    fixed = (moving + generator.integers(1, len(ids), size=count)) % len(ids)
    return [(str(ids[m]), str(ids[f])) for m, f in zip(moving.tolist(), fixed.tolist(), strict=True)]
