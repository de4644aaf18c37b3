"""Make an image with random contrast and random artefacts from a label map.

A network that sees another contrast at every step cannot rely on one contrast. The idea and the kinds of artefacts are
from SynthMorph (Hoffmann et al., IEEE TMI 2022) and SynthSeg (Billot et al., Medical Image Analysis 2023). A label map
is (1, *spatial), 2-D or 3-D, with integers from 0 on; 0 is the background.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.transforms.intensity.array import AdjustContrast, GaussianSmooth, RandBiasField, RandGaussianNoise
from monai.transforms.transform import MapTransform, RandomizableTransform
from monai.utils.misc import ensure_tuple
from torch import Tensor

from .basics.metadata import TORCH, check_range, like, plain, tracked
from .label_images import check_label_map, scale_to_unit, thick_slices

Drawn = dict[str, Any]
CLEAN: dict[str, Any] = {
    "texture": 0.0, "blur": 0.0, "bias": 0.0, "gamma": (1.0, 1.0), "thickness": 1.0, "noise": 0.0,
}  # fmt: skip
"""Strengths of no artefacts."""


class RandSyntheticImage(RandomizableTransform):
    """Makes an image (1, *spatial), float32 from 0 to 1, from a label map of the same shape.

    Each region gets a random intensity. Then texture, blur, a bias field, a gamma curve, thick slices and noise are
    applied in this order. Finally, the image is scaled to the range 0 to 1. Every strength is drawn uniformly between
    none and its largest value, so that clean images occur, too. If all are 0, every region has exactly one value.

    Only numbers are drawn (:attr:`drawn`). The intensity of a region depends on them and on its label, not on the other
    labels of the map.

    Args:
        prob: probability that an image is made; otherwise the input is returned.
        intensity: range of the mean intensities of regions (SynthMorph: 0.1 to 0.88).
        classes: class, such as a tissue, of each label value 0, 1, 2 ... Regions of the same class get the same
            intensity with probability ``class_prob``. None: each region has its own class.
        class_prob: probability that intensities are drawn per class, not per region.
        zero_background: probability that label 0 is exactly 0 in the image, as after skull stripping; otherwise the
            background is a region like all others.
        texture: largest standard deviation of the white noise in a region, drawn for each region (SynthMorph: 0.1).
        blur: largest standard deviation of the Gaussian filter in voxels, drawn for each axis (SynthMorph: 1).
        bias: largest coefficient of the bias field's Legendre polynomials of degree 3; see MONAI's ``RandBiasField``.
        gamma: range of the exponent of the gamma curve.
        thickness: largest slice thickness in voxels. The image is averaged over slices along one random axis and
            interpolated back (SynthSeg: up to 9 mm).
        noise: largest standard deviation of the Gaussian noise, before the image is scaled.

    Raises:
        ValueError: a range or strength is invalid.
    """

    backend = TORCH

    def __init__(
        self,
        prob: float = 1.0,
        intensity: Sequence[float] = (0.0, 1.0),
        classes: Sequence[int] | None = None,
        class_prob: float = 0.5,
        zero_background: float = 0.5,
        texture: float = 0.1,
        blur: float = 1.0,
        bias: float = 0.3,
        gamma: Sequence[float] = (0.6, 1.6),
        thickness: float = 3.0,
        noise: float = 0.05,
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        self.intensity, self.gamma = check_range("intensity", intensity), check_range("gamma", gamma)
        if self.gamma[0] == 0:
            raise ValueError(f"gamma must be a range of exponents above 0, got {gamma}")
        for name, value in {"texture": texture, "blur": blur, "bias": bias, "noise": noise}.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be the largest strength, 0 or more, got {value}")
        _check_probability("class_prob", class_prob)
        _check_probability("zero_background", zero_background)
        if not 1 <= thickness < float("inf"):
            raise ValueError(f"thickness must be the largest slice thickness, 1 voxel or more, got {thickness}")
        if classes is not None and (not len(classes) or min(classes) < 0):
            raise ValueError(f"classes must be numbers from 0 on, one for each label value from 0 on, got {classes}")
        self.classes = None if classes is None else tuple(int(value) for value in classes)
        self.class_prob, self.zero_background = class_prob, zero_background
        self.texture, self.blur, self.bias, self.noise = texture, blur, bias, noise
        self.thickness = thickness
        self.drawn: Drawn = {}

    def randomize(self, data: Any = None) -> None:
        """Draw whether to make an image, and the parameters :attr:`drawn`."""
        super().randomize(None)
        self.drawn = {**self.draw_contrast(), **self.draw_artefacts()}

    def draw_contrast(self) -> Drawn:
        """Draw the parameters of the regions' intensities: ``contrast``, a seed, and two decisions."""
        return {
            "contrast": int(self.R.randint(2**31 - 1)),
            "by_class": bool(self.R.uniform() < self.class_prob and self.classes is not None),
            "zero_background": bool(self.R.uniform() < self.zero_background),
        }

    def draw_artefacts(self) -> Drawn:
        """Draw all other parameters: ``artefacts`` is a seed, ``blur`` is in voxels on three axes, ``axis`` 0 to 1."""
        return {
            "artefacts": int(self.R.randint(2**31 - 1)),
            "blur": self.R.uniform(0, self.blur, 3).tolist(),
            "bias": float(self.R.uniform(0, self.bias)),
            "gamma": float(self.R.uniform(*self.gamma)),
            "axis": float(self.R.uniform()),
            "thickness": float(self.R.uniform(1, self.thickness)),
            "noise": float(self.R.uniform(0, self.noise)),
        }

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> Tensor:
        """Make an image from the label map ``img``, with its affine and metadata.

        ``randomize=False`` repeats the last draw; without one, it draws.

        Raises:
            ValueError: the label map is not (1, *spatial) with 2 or 3 spatial axes, holds other values than integers
                from 0 on, or a label beyond ``classes``.
        """
        if randomize or not self.drawn:
            self.randomize()
        return self.make(img, self.drawn) if self._do_transform else tracked(img)

    def make(self, img: NdarrayOrTensor, drawn: Drawn) -> Tensor:
        """Make an image from a label map with the parameters ``drawn``; nothing else is random."""
        label = tracked(img)
        labels = check_label_map(plain(label), self.classes)
        random = np.random.RandomState(drawn["artefacts"])
        image = self._regions(labels, drawn, random)
        sigma = drawn["blur"][: labels.ndim - 1]
        image = GaussianSmooth(sigma)(image) if max(sigma) > 0 else image
        image = _with(RandBiasField(coeff_range=(-drawn["bias"], drawn["bias"]), prob=1.0), image, random)
        image = AdjustContrast(drawn["gamma"])(image) if drawn["gamma"] != 1 else image
        axis = 1 + min(int(drawn["axis"] * len(sigma)), len(sigma) - 1)
        image = thick_slices(plain(image), axis, drawn["thickness"])
        if drawn["noise"] > 0:
            image = _with(RandGaussianNoise(std=drawn["noise"], sample_std=False, prob=1.0), image, random)
        image = plain(image).clamp_min(0)
        if drawn["zero_background"]:
            image = image * (labels > 0)
        return like(scale_to_unit(image), label)

    def _regions(self, labels: Tensor, drawn: Drawn, random: np.random.RandomState) -> Tensor:
        """Fill each region with its mean intensity and texture: (1, *spatial), float32."""
        values, place = labels.unique(return_inverse=True)
        means, deviations = self.contrast(values.tolist(), drawn)
        image = torch.tensor(means, dtype=torch.float32)[place]
        if self.texture > 0:
            grain = torch.from_numpy(random.standard_normal(labels.shape).astype(np.float32))
            image = image + torch.tensor(deviations, dtype=torch.float32)[place] * grain
        return image

    def contrast(self, values: Sequence[int], drawn: Drawn) -> tuple[list[float], list[float]]:
        """Return means and standard deviations of the regions with these label values, for the parameters ``drawn``."""
        means, deviations = [], []
        for value in values:
            group = self.classes[value] if drawn["by_class"] and self.classes is not None else value
            generator = np.random.default_rng([drawn["contrast"], group])
            means.append(generator.uniform(*self.intensity))
            deviations.append(generator.uniform(0, self.texture))
            if value == 0 and drawn["zero_background"]:
                means[-1] = deviations[-1] = 0.0
        return means, deviations


class RandSyntheticImaged(RandomizableTransform, MapTransform):
    """Dictionary-based version of :class:`RandSyntheticImage`: makes the images ``keys`` from the label maps.

    Each image gets its own contrast and artefacts; label maps stay as they are.

    Args:
        keys: keys to store the images under; existing images are replaced.
        label_keys: keys of the label maps (1, *spatial), one for each key.
        prob: probability that all images of a sample are made; otherwise none is.
        clean_keys: for each key, where to put a second image of its label map, without artefacts. All clean images of a
            sample have one contrast, drawn apart from the others: a loss can compare them, whatever a network sees.
            They are made from the label maps as these are when the transform is reached. None makes none.
        same_contrast: probability that the images of a sample share the intensities of their regions, as scans of the
            same sequence do. Blur, bias, noise and the rest stay different.
        intensity, classes, class_prob, zero_background, texture, blur, bias, gamma, thickness, noise: see
            :class:`RandSyntheticImage`.
        allow_missing_keys: skip an image if the sample has no label map for it.

    Raises:
        ValueError: ``keys``, ``label_keys`` and ``clean_keys`` differ in length, or as :class:`RandSyntheticImage`.
    """

    backend = RandSyntheticImage.backend

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: KeysCollection,
        clean_keys: KeysCollection | None = None,
        prob: float = 1.0,
        same_contrast: float = 0.0,
        intensity: Sequence[float] = (0.0, 1.0),
        classes: Sequence[int] | None = None,
        class_prob: float = 0.5,
        zero_background: float = 0.5,
        texture: float = 0.1,
        blur: float = 1.0,
        bias: float = 0.3,
        gamma: Sequence[float] = (0.6, 1.6),
        thickness: float = 3.0,
        noise: float = 0.05,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.label_keys = ensure_tuple(label_keys)
        if len(self.label_keys) != len(self.keys):
            raise ValueError(f"expected one label key per key, got label_keys {self.label_keys} for {self.keys}")
        self.clean_keys = () if clean_keys is None else ensure_tuple(clean_keys)
        if self.clean_keys and len(self.clean_keys) != len(self.keys):
            raise ValueError(f"one clean key per key: got clean_keys {self.clean_keys} for keys {self.keys}")
        _check_probability("same_contrast", same_contrast)
        self.same_contrast = same_contrast
        strengths = {"texture": texture, "blur": blur, "bias": bias, "thickness": thickness, "noise": noise}
        self.synthesize = RandSyntheticImage(
            1.0, intensity, classes, class_prob, zero_background, gamma=gamma, **strengths
        )
        self.synthesize_clean = RandSyntheticImage(1.0, (0.0, 1.0), classes, class_prob, zero_background, **CLEAN)
        self.drawn: tuple[Drawn, ...] = ()
        self.drawn_clean: Drawn = {}

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> "RandSyntheticImaged":
        super().set_random_state(seed, state)
        self.synthesize.set_random_state(state=self.R)
        self.synthesize_clean.set_random_state(state=self.R)
        return self

    def randomize(self, data: Any = None) -> None:
        """Draw whether to make images, and the parameters :attr:`drawn` of each key and :attr:`drawn_clean`."""
        super().randomize(None)
        same = self.R.uniform() < self.same_contrast
        contrasts = [self.synthesize.draw_contrast() for _ in self.keys]
        artefacts = [self.synthesize.draw_artefacts() for _ in self.keys]
        self.synthesize_clean.randomize()
        self.drawn_clean = self.synthesize_clean.drawn
        chosen = [contrasts[0]] * len(contrasts) if same else contrasts
        self.drawn = tuple({**contrast, **own} for contrast, own in zip(chosen, artefacts, strict=True))

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, Any]:
        """Return a copy of the sample with new images.

        Raises:
            KeyError: a label map is missing.
            ValueError: as :meth:`RandSyntheticImage.__call__`.
        """
        d: dict[Hashable, Any] = dict(data)
        self.randomize()
        clean_keys = self.clean_keys or [None] * len(self.keys)
        for key, label_key, clean_key, drawn in zip(self.keys, self.label_keys, clean_keys, self.drawn, strict=True):
            if label_key not in d and self.allow_missing_keys:
                continue
            if label_key not in d:
                raise KeyError(f"the sample has no label map {label_key!r} to make {key!r} from")
            if self._do_transform:
                d[key] = self.synthesize.make(d[label_key], drawn)
            if self._do_transform and clean_key is not None:
                d[clean_key] = self.synthesize_clean.make(d[label_key], self.drawn_clean)
        return d


def _with(transform: RandomizableTransform, image: Tensor, random: np.random.RandomState) -> Any:
    transform.set_random_state(state=random)
    called: Any = transform
    return called(image)


def _check_probability(name: str, value: Any) -> None:
    """Raise ValueError unless the value is a number from 0 to 1."""
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a probability, 0 to 1, got {value!r}")


RandSyntheticImageD = RandSyntheticImageDict = RandSyntheticImaged
