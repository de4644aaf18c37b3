"""Which subjects train, validate and test, and which pairs are registered. Nothing here opens an image."""

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
    """Subject ids of each side, sorted. ``test`` equals ``validation`` where there is no test side of its own."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def split_cohort(cohort: Cohort, settings: SplitSettings, root: Path | None = None) -> Split:
    """Divide a cohort by its groups.

    Args:
        cohort: subjects and groups.
        settings: ``fractions`` (seeded), ``files`` (text files of ids, relative to ``root``), ``declared`` (by the
            data) or ``published`` (of the VoxelMorph Smoothness Study on Neurite-OASIS, which had no test side: where
            ``settings.test`` is a number, that fraction of its validation subjects, seeded, tests instead).
        root: folder of the data.

    Raises:
        InputError: a side with fewer than two subjects (test, too, unless ``settings.test`` is None), a subject or a
            group on two sides, an unknown id, fractions that are not positive or exceed 1 together.
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
        if count < 2:
            otherwise = "; or set split.test=null to test on the validation subjects" if side == "test" else ""
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
    """The numbers below ``count`` in an order that is drawn from a seed, the same for ever."""
    # numpy promises a bit generator's raw numbers for ever, but not Generator.permutation's result
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


def _from_files(settings: SplitSettings, root: Path | None) -> Mapping[str, Sequence[str]]:
    sides = {}
    for side in SIDES:
        name = getattr(settings, side)
        if name is None:
            continue
        if not isinstance(name, str):
            raise InputError(
                f"split.{side} is {quoted(name)}; split.source files needs the name of a text file of ids."
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
    if isinstance(value, str) or not 0 < value < 1:
        raise InputError(f"split.{side} is {value!r}; split.source {settings.source} needs a number between 0 and 1.")
    return value


def _rounded(count: float) -> int:
    """To the nearest whole number, half up, whatever the platform's rounding."""
    return int(count + 0.5 + 1e-9)


def _known(ids: Iterable[str], cohort: Cohort, side: str) -> tuple[str, ...]:
    """Sorted, without those that the cohort's settings leave out."""
    ids = sorted(ids)
    for one, next_one in pairwise(ids):
        if one == next_one:
            raise InputError(f"split.{side} lists subject {quoted(one)[1:-1]} twice.")
    unknown = sorted(set(ids) - set(cohort.ids) - cohort.left_out)
    if unknown:
        raise InputError(
            f"split.{side} lists {quoted(unknown[0])}{f' and {len(unknown) - 1} more' if unknown[1:] else ''}, "
            f"unknown to the cohort {cohort.name} of {len(cohort.subjects)} subjects."
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
    """Ordered pairs of distinct subjects, none twice: the same for ever, whatever the order of ``ids``.

    Args:
        ids: subject ids.
        count: how many pairs; all n (n - 1) if there are fewer.
        seed: of the draw.

    Raises:
        InputError: fewer than two subjects.
    """
    ids = sorted(set(ids))
    total = len(ids) * (len(ids) - 1)
    if total == 0:
        raise InputError(f"{len(ids)} subject(s) make no pairs; at least two are needed.")
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
    """sha256 of the pairs in their order, one line of ``moving<tab>fixed`` each."""
    return hashlib.sha256("".join(f"{moving}\t{fixed}\n" for moving, fixed in pairs).encode()).hexdigest()


def training_pairs(ids: Sequence[str], count: int, seed: int, epoch: int) -> list[Pair]:
    """Random ordered pairs of distinct subjects, with repeats: a pure function of its arguments.

    Args:
        ids: at least two subject ids.
        count: steps per epoch times batch size.
        seed, epoch: so that a resumed trial draws what an uninterrupted one would have drawn.

    Raises:
        InputError: fewer than two subjects.
    """
    if len(ids) < 2:
        raise InputError(f"{len(ids)} subject(s) make no pairs; at least two are needed.")
    generator = np.random.default_rng([seed, epoch])
    moving = generator.integers(len(ids), size=count)
    fixed = (moving + generator.integers(1, len(ids), size=count)) % len(ids)
    return [(str(ids[m]), str(ids[f])) for m, f in zip(moving.tolist(), fixed.tolist(), strict=True)]
