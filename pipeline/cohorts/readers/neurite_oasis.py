"""The reader of Neurite-OASIS: aligned adult brains, as volumes and as one slice of each volume."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ....transforms.basics.errors import InputError
from ....transforms.basics.options import Option
from ...settings.vocabulary import READERS, ReaderEntry
from ..cohort import Cohort, Subject
from ..file_cohort import file_cohort, read_label_table

if TYPE_CHECKING:
    from ...settings.schema import CohortSettings

IMAGE = {2: "slice_norm.nii.gz", 3: "aligned_norm.nii.gz"}
LABEL = {2: "slice_{}.nii.gz", 3: "aligned_{}.nii.gz"}
LABEL_SETS = {2: ("seg24", "seg4"), 3: ("seg35", "seg4")}
"""Label sets by number of axes; the first is the default."""
DUPLICATES = {"OASIS_OAS1_0193": "OASIS_OAS1_0079"}
"""Almost certainly one person: their slices correlate with 0.984, those of the next closest pair with 0.939."""

READERS.add(
    ReaderEntry(
        name="neurite-oasis",
        title="Neurite-OASIS",
        meaning="Neurite-OASIS",
        source="Neurite-OASIS v1.0 (Marcus et al. 2007; Hoopes et al. 2021): skull-stripped, bias-corrected, affinely "
        "aligned T1-weighted brains of adults, under the OASIS data use agreement",
        terms="OASIS is for research use only, must be acknowledged, and forbids attempts to identify its "
        "participants.",
        target=f"{__name__}:read_neurite_oasis",
        options=(
            Option(
                name="labels",
                kind=str,
                meaning="label set: seg4, in 2-D seg24, in 3-D seg35; null: the finer one",
                always_in_id=True,
            ),
        ),
        archive="neurite-oasis-2d",
        place=1,
    )
)


def read_neurite_oasis(settings: CohortSettings, root: Path) -> Cohort:
    """Neurite-OASIS in its public layout: ``root/OASIS_OAS1_XXXX_MRn/slice_norm.nii.gz`` and so on.

    Scans of one person share a group. So do the suspected duplicates 0079 and 0193.

    Raises:
        InputError: there is no subject folder or no table of label names, or the label set is unknown.
    """
    dims = settings.spatial_dims
    known = LABEL_SETS[dims]
    labels = settings.labels or known[0]
    if labels not in known:
        raise InputError(f"cohort.labels {labels!r} is unknown; neurite-oasis in {dims}-D has {' and '.join(known)}.")
    folders = sorted(path for path in root.glob("OASIS_OAS1_*_MR*") if path.is_dir())
    if not folders:
        raise InputError(f"{root} holds no subject folders OASIS_OAS1_*_MR*; give the folder that holds them.")
    names = read_label_table(root / f"{labels}_labels.txt")
    image, label = IMAGE[dims], LABEL[dims].format(labels)
    subjects = [Subject(path.name, _person(path.name), path / image, path / label) for path in folders]
    return file_cohort(settings, root, subjects, names)


def _person(subject_id: str) -> str:
    person = subject_id.rpartition("_MR")[0]
    return DUPLICATES.get(person, person)
