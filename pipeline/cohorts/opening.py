"""Opening of a cohort by any reader, with the checks that all readers share."""

from dataclasses import replace
from pathlib import Path

from ...transforms.basics.errors import InputError
from ..settings.schema import CohortSettings
from ..settings.vocabulary import READERS
from .cohort import Cohort, Subject


def read_cohort(settings: CohortSettings, root: Path | None = None) -> Cohort:
    """The cohort that the settings describe. ``Cohort.load`` reads its images later.

    Args:
        settings: the settings of the cohort.
        root: folder of the data; the phantom needs none.

    Raises:
        InputError: ``root`` is missing or empty, a file is missing, an excluded id is unknown, or there are fewer than
            two subjects.
    """
    cohort = list_cohort(settings, root)
    for subject in cohort.subjects:
        check_there(subject)
    return cohort


def list_cohort(settings: CohortSettings, root: Path | None = None) -> Cohort:
    """As :func:`read_cohort`, but without checking that the files of all subjects exist."""
    reader = READERS[settings.reader]
    return _choose(reader(settings, root), settings.exclude, settings.subjects if reader.on_disk else None)


def _choose(cohort: Cohort, exclude: tuple[str, ...], count: int | None) -> Cohort:
    """Leave out the excluded subjects, then keep the first ``count`` by id."""
    unknown = sorted(set(exclude) - set(cohort.ids))
    if unknown:
        raise InputError(f"cohort.exclude names {unknown[0]!r}, which the cohort {cohort.name} does not have.")
    kept = [subject for subject in cohort.subjects if subject.id not in exclude]
    if count is not None and count > len(kept):
        raise InputError(f"cohort.subjects is {count}, but the cohort {cohort.name} has only {len(kept)}.")
    kept = kept[:count]
    if len(kept) < 2:
        raise InputError(f"the cohort {cohort.name} has {len(kept)} subject(s); at least two are needed to make pairs.")
    left_out = frozenset(cohort.ids) - {subject.id for subject in kept}
    return replace(cohort, subjects=tuple(kept), left_out=left_out)


def check_there(subject: Subject) -> None:
    """Raise InputError if the subject's image or label file does not exist."""
    for kind, path in (("image", subject.image), ("label", subject.label)):
        if path is not None and not path.is_file():
            raise InputError(f"subject {subject.id} has no {kind}: {path} does not exist.")
