"""The method that trains a network; :mod:`..training` does the work."""

from ..settings.vocabulary import METHODS, MethodEntry

METHODS.add(
    MethodEntry(
        name="voxelmorph",
        title="trained network",
        meaning="a network that is trained on pairs of training subjects, without using their labels",
        source="Balakrishnan et al., IEEE TMI 2019",
        target="smoothmorph.pipeline.training.loop:train",
        trains=True,
        place=-1,
    )
)
