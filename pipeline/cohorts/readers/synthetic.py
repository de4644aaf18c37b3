"""Synthetic brains, which need no data; :mod:`..synthetic` makes them."""

from ....transforms.basics.options import Option
from ...settings.vocabulary import READERS, ReaderEntry

READERS.add(
    ReaderEntry(
        name="synthetic",
        title="synthetic brains",
        meaning="generated brains with 29 labels, made from the ICBM152 tissue maps, for training without real images",
        source="synthetic brains of smoothmorph, made from the ICBM152 template",
        target="smoothmorph.pipeline.cohorts.synthetic.cohort:make_synthetic",
        options=(
            Option(name="spacing", kind=float, least=0, meaning="voxel size in mm; 3-D: 2 or 1, null: 2; 2-D: 1"),
        ),
        on_disk=False,
        place=0,
    )
)
