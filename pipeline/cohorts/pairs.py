"""Which scans can be registered to which: all of a side of the split, or those that ``pairs.source`` leaves."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...transforms.basics.bounds import MOST_ROWS
from ...transforms.basics.errors import InputError, did_you_mean, quoted
from ..settings.schema import PairSettings
from .cohort import Cohort, Subject
from .file_cohort import SIDES
from .pair_files import Ids, read_listed
from .splits import Pair, Split, frozen_pairs, pairs_hash, permutation, training_pairs


@dataclass(frozen=True)
class PossiblePairs:
    """What can be drawn on each side of a split, sorted; None: any two scans of the side, in either order."""

    train: tuple[Pair, ...] | None = None
    validation: tuple[Pair, ...] | None = None
    test: tuple[Pair, ...] | None = None

    def hashes(self) -> dict[str, str]:
        """sha256 of each side's pairs; empty where any two scans make a pair, which the split says already."""
        return {side: pairs_hash(pairs) for side, pairs in vars(self).items() if pairs is not None}


def possible_pairs(cohort: Cohort, split: Split, settings: PairSettings, root: Path | None) -> PossiblePairs:
    """The pairs of each side.

    A group is on one side of the split, and so are both scans of a pair. The atlas is the one exception: it is fixed
    in the pairs of all sides, and no scan of its group moves on any.

    Args:
        cohort: the subjects, with the columns of their table.
        split: the sides.
        settings: ``pairs``.
        root: folder of the data, which ``pairs.file`` is relative to.

    Raises:
        InputError: an unknown column, value, id or atlas, a pair of two sides, or a side without a pair.
    """
    if not settings.chosen:
        return PossiblePairs()
    if settings.source == "file":
        sides = _listed_pairs(cohort, split, (root or Path()) / str(settings.file))
    else:
        _check_columns(cohort, settings)
        atlas = _atlas(cohort, split, settings.atlas) if settings.source == "atlas" else None
        sides = {side: _of_side([cohort[name] for name in ids], settings, atlas) for side, ids in vars(split).items()}
    for side, ids in vars(split).items():
        if ids and not sides[side]:
            raise InputError(
                f"pairs.source {settings.source} makes no pair of the {len(ids)} {side} subjects"
                f"{_filters(settings)}; {_advice(settings)}."
            )
    return PossiblePairs(**sides)


def _of_side(subjects: Sequence[Subject], settings: PairSettings, atlas: Subject | None) -> tuple[Pair, ...]:
    moving, fixed = (
        [subject for subject in subjects if all(subject.column(name) == text for name, text in wanted)]
        for wanted in (settings.moving, settings.fixed)
    )
    if atlas is not None:
        return tuple(sorted((subject.id, atlas.id) for subject in moving if subject.group != atlas.group))
    partners: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for subject in fixed:
        partners[_agreed(subject, settings)].append(subject.id)
    agreed = [(subject.id, _agreed(subject, settings)) for subject in moving]
    agreed = [(name, key) for name, key in agreed if all(key)]  # an empty cell agrees with none
    if (count := sum(len(partners[key]) for _, key in agreed)) > MOST_ROWS:
        raise InputError(f"pairs.source {settings.source} makes {count:,} pairs; at most {MOST_ROWS:,} are drawn from.")
    return tuple(sorted((name, other) for name, key in agreed for other in partners[key] if other != name))


def _agreed(subject: Subject, settings: PairSettings) -> tuple[str, ...]:
    """What both scans of a pair have in common."""
    return (*((subject.group,) if settings.source == "within" else ()), *map(subject.column, settings.match))


def _check_columns(cohort: Cohort, settings: PairSettings) -> None:
    """Raise InputError for a column that no subject has, or a value that none has there."""
    known = {"id", "group"}.union(*(subject.columns for subject in cohort.subjects))
    wanted = [*(("match", name, None) for name in settings.match)]
    wanted += [("moving", *one) for one in settings.moving] + [("fixed", *one) for one in settings.fixed]
    for setting, column, text in wanted:
        if column not in known:
            close = did_you_mean(column, known)
            raise InputError(
                f"pairs.{setting} names the column {quoted(column)}, which the cohort {cohort.name} does not have; "
                f"{close}{'It' if close else 'it'} has {', '.join(sorted(known))}."
            )
        values = {subject.column(column) for subject in cohort.subjects} - {""}
        if text is not None and text not in values:
            few = ", ".join(sorted(values)[:8]) + (", ..." if len(values) > 8 else "")
            raise InputError(
                f"pairs.{setting} asks for {column} {quoted(text)}, which no subject of the cohort {cohort.name} has; "
                f"{did_you_mean(text, values)}{column} is {few or 'empty'}."
            )


def _atlas(cohort: Cohort, split: Split, name: str | None) -> Subject:
    if name in cohort.left_out:
        raise InputError(f"pairs.atlas {quoted(name)} is left out by cohort.exclude or cohort.subjects; keep it.")
    if name not in cohort.ids:
        hint = did_you_mean(name, cohort.ids).rstrip() or "give the id of a subject."
        raise InputError(f"pairs.atlas is {quoted(name)}, which the cohort {cohort.name} does not have; {hint}")
    if not any(name in ids for ids in vars(split).values()):
        raise InputError(
            f"pairs.atlas {quoted(name)} is on no side of the split; put it among the training subjects, for training "
            "sees it in every pair."
        )
    return cohort[str(name)]


def _listed_pairs(cohort: Cohort, split: Split, file: Path) -> dict[str, tuple[Pair, ...]]:
    """The pairs of a file by side; those of a subject that is on no side, or left out, are not used."""
    ids, side_of = Ids(cohort, file.parent), {}
    for side in SIDES:  # where validation subjects test, too, they are found as validation first
        for name in getattr(split, side):
            side_of.setdefault(name, side)
    found: dict[str, set[Pair]] = {side: set() for side in SIDES}
    for where, *texts in read_listed(file):
        moving, fixed = (ids.find(text, where) for text in texts)
        if moving == fixed:
            raise InputError(f"{where} registers {moving} to itself; a pair is of two scans.")
        sides = [side_of.get(moving), side_of.get(fixed)]
        if None in sides:
            continue
        if sides[0] != sides[1]:
            raise InputError(
                f"{where}: {moving} is a {sides[0]} subject and {fixed} a {sides[1]} subject; a pair must be on one "
                "side of the split, so give both one group, set split.source to declared or files, or leave it out."
            )
        found[str(sides[0])].add((moving, fixed))
    if split.test == split.validation:
        found["test"] = found["validation"]
    return {side: tuple(sorted(pairs)) for side, pairs in found.items()}


def _filters(settings: PairSettings) -> str:
    named = [f"{name} {key} {text}" for name in ("moving", "fixed") for key, text in getattr(settings, name)]
    named += [f"the same {' and '.join(settings.match)}"] if settings.match else []
    return f" with {', '.join(named)}" if named else ""


def _advice(settings: PairSettings) -> str:
    return {
        "across": "ask for fewer columns in pairs.match, pairs.moving and pairs.fixed",
        "within": "it needs two scans of one group, so check the column group, pairs.match, pairs.moving, pairs.fixed",
        "atlas": "check pairs.moving, and that subjects of another group than the atlas are on every side",
        "file": "list pairs of two subjects of this side, or change the split",
    }[settings.source]


def drawn_pairs(possible: Sequence[Pair] | None, ids: Collection[str], count: int, seed: int) -> tuple[Pair, ...]:
    """``count`` of the possible pairs, none twice, or all if there are fewer; the same for ever.

    Args:
        possible: sorted; None: any two of ``ids``.
        ids: the subjects of the side; without any, there are no pairs.
        count: how many.
        seed: of the draw.

    Raises:
        InputError: no possible pair is given and there is one id only.
    """
    if possible is None:
        return frozen_pairs(ids, count, seed) if ids else ()
    return tuple(possible[place] for place in permutation(len(possible), seed)[:count])


def epoch_pairs(
    possible: Sequence[Pair] | None, ids: Sequence[str], count: int, seed: int, epoch: int
) -> Sequence[Pair]:
    """Random pairs of an epoch of training, with repeats: a pure function of its arguments.

    Args:
        possible: as for :func:`drawn_pairs`.
        ids: the training subjects.
        count: steps per epoch times batch size.
        seed, epoch: so that a resumed trial draws what an uninterrupted one would have drawn.
    """
    if possible is None:
        return training_pairs(ids, count, seed, epoch)
    places = np.random.default_rng([seed, epoch]).integers(len(possible), size=count)
    return [possible[place] for place in places.tolist()]


def pairs_table(
    cohort: Cohort, split: Split, possible: PossiblePairs, settings: PairSettings
) -> list[dict[str, object]]:
    """A line per side: how many scans, groups and pairs it has, how many are measured, and an example.

    A side without scans has no line.
    """
    lines = []
    for side, ids in vars(split).items():
        if not ids:
            continue
        pairs, asked = getattr(possible, side), getattr(settings, side, None)
        count = len(ids) * (len(ids) - 1) if pairs is None else len(pairs)
        seed = settings.seed + (side == "test")
        moving, fixed = drawn_pairs(pairs, ids, 1, seed)[0]
        lines.append(
            {"side": side, "scans": len(ids), "groups": len({cohort[name].group for name in ids}), "pairs": count}
            | {"measured": "-" if asked is None else min(asked, count), "example": f"{moving} onto {fixed}"}
        )
    return lines
