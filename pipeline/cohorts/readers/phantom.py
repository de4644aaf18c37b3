"""The embedded cohort, which needs no data; :mod:`..phantom` makes it."""

from ...settings.vocabulary import READERS, ReaderEntry

READERS.add(
    ReaderEntry(
        name="phantom",
        title="embedded phantom",
        meaning="the embedded phantom: the ICBM152 template, deformed and imaged anew for every subject",
        source="synthetic phantom of smoothmorph, made from the ICBM152 template",
        target="smoothmorph.pipeline.cohorts.phantom.cohort:make_phantom",
        settings=("seed",),
        on_disk=False,
        downwards=True,
        place=0,
    )
)
