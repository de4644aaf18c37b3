"""A random transform of another package."""

from collections.abc import Sequence

from monai.transforms.transform import MapTransform, RandomizableTransform


class RandStripesd(RandomizableTransform, MapTransform):
    """Every second line of the images is brighter, by a random amount."""

    def __init__(self, keys: Sequence[str], prob: float = 1.0, most: float = 0.5) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.most = most

    def __call__(self, data):
        self.randomize(None)
        made, amount = dict(data), self.R.uniform(0, self.most)
        for key in self.keys if self._do_transform else ():
            made[key] = made[key].clone()
            made[key][:, ::2] *= 1 + amount
        return made
