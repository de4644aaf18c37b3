"""The built-in cohort, which needs no data; :mod:`..phantom` generates it."""

from ...settings.vocabulary import READERS, ReaderEntry

READERS.add(
    ReaderEntry(
        name="phantom",
        title="built-in phantom",
        meaning="built-in synthetic subjects: the ICBM152 template, with a random deformation and contrast for each",
        source="synthetic phantom of smoothmorph, made from the ICBM152 template",
        target="smoothmorph.pipeline.cohorts.phantom.cohort:make_phantom",
        on_disk=False,
        downwards=True,
        place=0,
    )
)
