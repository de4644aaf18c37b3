"""The random transforms of training pairs that other packages add. Reading them loads neither torch nor MONAI.

``training.augment`` also names MONAI's random transforms and those of ``smoothmorph.transforms`` by their classes.
"""

from dataclasses import dataclass

from ...transforms.basics.registry import Entry, Registry


@dataclass(frozen=True, kw_only=True)
class RandomTransformEntry(Entry):
    """A random transform of training pairs.

    The target is a class like MONAI's random dictionary transforms: a ``MapTransform`` and a ``RandomizableTrait``. It
    keeps the size of images. Its arguments are those of the study, and the entry's ``arguments``.

    Attributes:
        moves: whether it changes where things are. Otherwise it changes intensities, and cannot get label maps.
    """

    moves: bool


RANDOM_TRANSFORMS: Registry[RandomTransformEntry] = Registry("random transform", "smoothmorph.random_transforms")
