"""A check of a whole cohort: one pass over all subjects that collects statistics and faults, and stops at none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...transforms.basics.errors import InputError, printable, times
from ..settings.schema import CohortSettings
from .cohort import Cohort, Sample
from .opening import check_there, list_cohort

if TYPE_CHECKING:
    import pandas as pd

    from .duplicates import Duplicate

MANY_DUPLICATES = 20
"""More suspected duplicates than these are not all shown."""
LABEL_COLUMNS = ["label", "name", "subjects_percent", "mean_voxels"]
MANY_SHAPES = 6
"""If there are more shapes than this, their range along each axis is reported instead."""


@dataclass(frozen=True)
class CohortFindings:
    """The findings of :func:`check_cohort`."""

    cohort: str
    spatial_dims: int
    subjects: int
    """The number of subjects, including faulty ones."""
    groups: int
    faults: tuple[str, ...]
    """One sentence for each unreadable or faulty subject."""
    differences: tuple[str, ...]
    """One sentence for each way in which subjects differ, so that a study with these settings refuses them."""
    images: pd.DataFrame
    """A row per readable subject: id, group, shape, spacing (mm), minimum, p01, p50, p99, maximum, number of labels."""
    labels: pd.DataFrame
    """A row per label: label, name, subjects_percent (of the readable subjects), mean_voxels (if present)."""
    duplicates: tuple[Duplicate, ...]
    """Pairs of subjects that are probably the same brain, the most similar first."""

    @property
    def ok(self) -> bool:
        """Whether every subject can be used."""
        return not self.faults

    def tables(self) -> dict[str, pd.DataFrame]:
        """Short tables by title, such as shapes and suspected duplicates; without empty tables."""
        import pandas as pd

        shapes = self.images.groupby(["shape", "spacing"])["id"].agg(subjects="size").reset_index()
        if len(shapes) > MANY_SHAPES:
            shapes = self.images.groupby("spacing")["shape"].agg(shape=_range, subjects="size").reset_index()
        columns = ["minimum", "p01", "p50", "p99", "maximum"]
        intensity = self.images[columns].agg(["min", "median", "max"]).rename_axis("over subjects").reset_index()
        apart = sorted(self.duplicates, key=lambda pair: pair.same_group)  # a group may hold scans that are alike
        few = f" (the first {MANY_DUPLICATES} of {len(apart)})" if len(apart) > MANY_DUPLICATES else ""
        tables = {
            "shapes": shapes,
            "intensities": intensity,
            "labels": self.labels,
            f"suspected duplicates{few}": pd.DataFrame([vars(pair) for pair in apart[:MANY_DUPLICATES]]),
            "faults": pd.DataFrame({"fault": self.faults}),
            "what a study would refuse": pd.DataFrame({"difference": self.differences}),
        }
        return {title: table for title, table in tables.items() if len(table)}

    def to_text(self) -> str:
        """The report as plain text."""
        count = f"{self.subjects} subjects in {self.groups} groups, {len(self.faults)} of them faulty"
        parts = [f"{self.cohort}, {self.spatial_dims}-D: {count}."]
        for title, table in self.tables().items():
            if len(table.columns) == 1:  # sentences
                body = "\n".join(map(printable, table.iloc[:, 0]))
            else:
                body = table.to_string(index=False, float_format=lambda number: f"{number:.4g}")
            parts.append(f"{title}\n{body}")
        return "\n\n".join(parts)

    def __str__(self) -> str:
        return self.to_text()


def check_cohort(
    settings: CohortSettings, root: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> CohortFindings:
    """Read every subject as stored, without intensity scaling, padding or cropping, and report the findings.

    Args:
        settings: as for ``read_cohort``.
        root: folder of the data; the phantom needs none.
        progress: called after each subject with (subjects done, total subjects).

    Raises:
        InputError: the cohort cannot be listed (no folder, no label table, fewer than two subjects).
    """
    cohort = list_cohort(settings.model_copy(update={"intensity": "none", "size": None}), root)
    import pandas as pd

    from .duplicates import Thumbnails, find_duplicates
    from .loading import grid_differences, size_fault

    faults: list[str] = []
    differences: dict[str, str] = {}
    first: Sample | None = None
    rows: list[dict[str, object]] = []
    counts: list[dict[int, int]] = []
    thumbnails = Thumbnails()
    for done, subject in enumerate(cohort.subjects, start=1):
        try:
            check_there(subject)
            sample = cohort.load(subject)
        except InputError as error:
            faults.append(str(error))
        else:
            counts.append(_voxels_per_label(sample))
            if settings.size is None and (fault := size_fault(sample["image"].shape[1:], None)):
                faults.append(f"the image of {subject.id} has {fault}.")
            rows.append({"id": subject.id, "group": subject.group, **_describe(sample), "labels": len(counts[-1])})
            thumbnails.add(subject, sample["image"])
            first = first or sample
            if settings.align == "none":  # otherwise all images are brought onto one grid
                for what, difference in grid_differences(sample, first).items():
                    differences.setdefault(what, difference)
        if progress is not None:
            progress(done, len(cohort.subjects))
    return CohortFindings(
        cohort=cohort.name,
        spatial_dims=cohort.spatial_dims,
        subjects=len(cohort.subjects),
        groups=len({subject.group for subject in cohort.subjects}),
        faults=tuple(faults),
        differences=tuple(text for what, text in differences.items() if what != "shape" or settings.size is None),
        images=pd.DataFrame(rows, columns=["id", "group", *DESCRIPTION, "labels"]),
        labels=_label_table(cohort, counts),
        duplicates=find_duplicates(thumbnails),
    )


def _range(shapes: pd.Series) -> str:
    """``31-43x40-59`` from ``31x59``, ``43x40`` ..."""
    sizes = np.array([shape.split("x") for shape in shapes], dtype=int)
    return "x".join(f"{low}-{high}" for low, high in zip(sizes.min(axis=0), sizes.max(axis=0), strict=True))


DESCRIPTION = ("shape", "spacing", "minimum", "p01", "p50", "p99", "maximum")


def _describe(sample: Sample) -> dict[str, object]:
    image = sample["image"][0].numpy()
    values = np.quantile(image, [0, 0.01, 0.5, 0.99, 1]).tolist()
    return dict(zip(DESCRIPTION, [times(image.shape), times(sample["spacing"]), *values], strict=True))


def _voxels_per_label(sample: Sample) -> dict[int, int]:
    if sample["label"] is None:
        return {}
    values, counts = np.unique(sample["label"].numpy(), return_counts=True)
    return {value: count for value, count in zip(values.tolist(), counts.tolist(), strict=True) if value != 0}


def _label_table(cohort: Cohort, counts: Sequence[dict[int, int]]) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for value, name in cohort.label_names.items():
        present = [count[value] for count in counts if value in count]
        percent = 100 * len(present) / len(counts) if counts else 0.0
        rows.append((value, name, percent, float(np.mean(present)) if present else 0.0))
    return pd.DataFrame(rows, columns=LABEL_COLUMNS)
