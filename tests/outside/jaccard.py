"""A metric: the Jaccard index of structures."""

from smoothmorph.pipeline import MetricEntry

ENTRY = MetricEntry(
    name="jaccard",
    title="Jaccard",
    meaning="intersection over union of the warped and the fixed structures",
    source="Jaccard, 1912",
    target="outside.jaccard:jaccard",
    needs=("labels",),
    better="higher",
    best=1.0,
    range=(0.0, 1.0),
    role="accuracy",
    note="mean over structures",
)


def jaccard(pair):
    """The Jaccard index of each structure."""
    shared, in_warped, in_fixed = pair.label_counts
    return dict(zip(pair.structures, (shared / (in_warped + in_fixed - shared)).tolist(), strict=True))
