"""The ways to scale intensities that a study can name. Reading them loads neither torch nor MONAI."""

from dataclasses import dataclass

from ...transforms.basics.registry import Entry, Registry


@dataclass(frozen=True, kw_only=True)
class IntensityEntry(Entry):
    """A way to scale the intensities of each image.

    The target is a dictionary transform like those of MONAI. It is called with the ``keys`` of images and the
    ``arguments``. Without a target, images keep the intensities of their files.

    Attributes:
        bounds: the lowest and the highest value that it gives; empty if it has none.
        spread: two percentiles of an image, which can be scaled only if they differ.
    """

    target: str = ""
    bounds: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()


INTENSITIES: Registry[IntensityEntry] = Registry(
    "intensity scaling",
    "smoothmorph.intensities",
    [
        IntensityEntry(name="none", title="Unchanged", meaning="unchanged from the files", place=0),
        IntensityEntry(
            name="minmax",
            title="Minimum and maximum",
            meaning="each image is scaled to 0 to 1",
            target="monai.transforms:ScaleIntensityd",
            bounds=(0, 1),
            place=1,
        ),
        IntensityEntry(
            name="percentile",
            title="Percentiles",
            meaning="the range from the 1st to the 99th percentile of each image is scaled to 0 to 1, and clipped",
            target="monai.transforms:ScaleIntensityRangePercentilesd",
            arguments={"lower": 1, "upper": 99, "b_min": 0, "b_max": 1, "clip": True},
            bounds=(0, 1),
            spread=(1, 99),
            place=2,
        ),
    ],
)
