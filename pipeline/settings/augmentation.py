"""``training.augment``: random MONAI transforms, named in the settings and applied to each training pair.

The random draws depend only on the trial's seed, the epoch and the pair's index in the epoch. A resumed trial
therefore draws the same values as an uninterrupted one.
"""

import inspect
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import monai.transforms
import numpy as np
from monai.transforms.compose import Compose
from monai.transforms.traits import RandomizableTrait
from monai.transforms.transform import MapTransform
from monai.utils.misc import ensure_tuple
from torch import Tensor

from ... import transforms
from ...transforms.basics.errors import InputError, nearest, one_line, quoted, times
from ...transforms.basics.metadata import plain
from .data_sections import SMALLEST

IMAGES, LABELS = ("moving", "fixed"), ("moving_label", "fixed_label")
CLEAN = ("moving_clean", "fixed_clean")
"""Where a transform puts the images that the similarity compares, if they are not those that the network sees."""
LABELS_TEXT = " and ".join(LABELS)
KEYS = (*IMAGES, *LABELS)
"""The keys that a transform can change. Label maps are loaded only if a transform names one."""
ROOMS = ("monai.transforms.intensity.", "monai.transforms.smooth_field.", "monai.transforms.spatial.")
"""MONAI modules whose random transforms keep the image size, open no file and call no function given by name."""
CROPS = ("RandScaleCropd", "RandSpatialCropd")
"""MONAI's transforms that return one part of all images; steps on parts are quicker. Others return a list of parts."""
OURS = [name for name in dir(transforms) if name.startswith("Rand")]
SPOILS_LABELS = re.compile(r"^monai\.transforms\.intensity\.|RandSmoothFieldAdjust|RandSimulateLowResolution")
"""Full names of transforms that change intensities, and would therefore corrupt a label map."""
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,50}")


class Augmentation:
    """The random transforms of a trial's training pairs.

    Args:
        steps: ``training.augment``: one mapping per transform, with its name, its ``keys`` and its other arguments.
        seed: the trial's seed.

    Raises:
        InputError: a transform or argument is unknown, or a value is invalid.
    """

    def __init__(self, steps: Sequence[Mapping[str, Any]], seed: int) -> None:
        self.seed = seed
        self.places = [f"training.augment[{place}]" for place in range(len(steps))]
        self.transforms = Compose([_make(*each) for each in zip(steps, self.places, strict=True)])
        self._check_order()
        self.clean = any(getattr(transform, "clean_keys", ()) for transform in self.transforms.transforms)
        self.labels = any(key in LABELS for transform in self.transforms.transforms for key in _keys(transform))

    def _check_order(self) -> None:
        """InputError if images would not fit: random shapes without images of them, clean images that are not moved."""
        made, shapes = "", ""
        for where, transform in zip(self.places, self.transforms.transforms, strict=True):
            name = type(transform).__name__
            makes = hasattr(transform, "label_keys")
            if made and not makes and _moves(transform) and set(IMAGES) & set(_keys(transform)):
                raise InputError(f"{where}: {name} would not move the clean images; put it before {made}.")
            if isinstance(transform, transforms.RandShapesd):
                if set(transform.keys) != set(LABELS):
                    raise InputError(f"{where}.keys is {quoted(list(transform.keys))}, expected both of {LABELS_TEXT}.")
                shapes = f"{where}: {name}"
            if set(LABELS) <= set(getattr(transform, "label_keys", ())):
                shapes = ""
            made = f"{where} ({name})" if getattr(transform, "clean_keys", ()) else made
        if shapes:
            raise InputError(
                f"{shapes} replaces the label maps, so RandSyntheticImaged must follow it for both images."
            )

    def leaves_label_behind(self) -> str | None:
        """The first transform that moves the fixed image without its label map; None: there is none."""
        for where, transform in zip(self.places, self.transforms.transforms, strict=True):
            if _moves(transform) and IMAGES[1] in transform.keys and LABELS[1] not in _keys(transform):
                return f"{where} ({type(transform).__name__})"
        return None

    def __call__(self, pair: Mapping[str, Tensor], epoch: int, place: int) -> dict[str, Tensor]:
        """Return a transformed copy of ``pair``, with the same keys, shapes (1, *spatial) and dtypes.

        Only a crop changes the shapes, alike for all keys.

        Raises:
            InputError: a transform fails on the pair, or is no crop and changes the image size.
        """
        state = np.random.SeedSequence([self.seed, epoch, place]).generate_state(1)
        self.transforms.set_random_state(int(state[0]))
        made: dict[str, Any] = {key: value.clone() for key, value in pair.items()}
        for where, transform in zip(self.places, self.transforms.transforms, strict=True):
            made = _apply(transform, made, f"{where} ({type(transform).__name__})")
        dtypes = {key: value.dtype for key, value in pair.items()}
        if self.clean:  # where none was made, the images themselves are compared
            made = {**{clean: made[image] for image, clean in zip(IMAGES, CLEAN, strict=True)}, **made}
            dtypes |= dict.fromkeys(CLEAN, pair[IMAGES[0]].dtype)
        return {key: plain(made[key]).to(dtype).contiguous() for key, dtype in dtypes.items()}


@cache
def augmentations() -> dict[str, type[MapTransform]]:
    """All transforms that can be named: MONAI's random dictionary transforms in ``ROOMS``, and ours."""
    public = {**vars(monai.transforms), **{name: getattr(transforms, name) for name in OURS}}
    return {name: each for name, each in public.items() if _can_be_named(name, each)}


def _can_be_named(name: str, public: Any) -> bool:
    random = isinstance(public, type) and issubclass(public, MapTransform) and issubclass(public, RandomizableTrait)
    if not random or public.__name__ != name:
        return False
    return name in (*OURS, *CROPS) or public.__module__.startswith(ROOMS)


def _make(step: Mapping[str, Any], where: str) -> MapTransform:
    """Build one transform; InputError names the setting ``where`` and what is wrong."""
    arguments, known = dict(step), augmentations()
    name = arguments.pop("transform")
    if name not in known:
        hint = _nearest(name, known)
        raise InputError(
            f"{where}.transform: {quoted(name)} is not a random dictionary transform that can be used here{hint}"
        )
    parameters = inspect.signature(known[name]).parameters
    for argument, value in arguments.items():
        if argument not in parameters:
            raise InputError(f"{where}.{argument}: {name} has no such argument{_nearest(argument, parameters)}")
        if not _is_plain(value):
            raise InputError(
                f"{where}.{argument} is {quoted(value)}, expected a number, a word, true, false, or a list of these."
            )
    arguments |= _sampling(known[name], arguments, where)
    if "label_keys" in parameters:
        _check_image_keys(name, arguments, where)
    if arguments.get("lazy"):
        raise InputError(f"{where}.lazy is true, but each transform is applied at once; leave it out.")
    if name in CROPS and arguments.get("random_size"):
        raise InputError(f"{where}.random_size is true, but all crops must have one size, to form batches.")
    try:
        return known[name](**arguments)
    except Exception as error:  # MONAI can raise any exception type
        raise InputError(f"{where}: {name} does not accept these arguments: {one_line(error)}.") from None


def _sampling(transform: type, arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Arguments that make a transform sample label maps by nearest neighbour; InputError if that is impossible."""
    keys = ensure_tuple(arguments.get("keys", ()))
    if not keys or not set(keys) <= set(KEYS) or len(set(keys)) < len(keys):
        raise InputError(f"{where}.keys is {quoted(arguments.get('keys'))}, expected a list of {', '.join(KEYS)}.")
    labels = [key in LABELS for key in keys]
    if any(labels) and SPOILS_LABELS.search(f"{transform.__module__}.{transform.__name__}"):
        raise InputError(
            f"{where}.keys has a label map, but {transform.__name__} would change its label values; leave it out."
        )
    modes = {mode for mode in ("mode", "grid_mode") if mode in inspect.signature(transform).parameters}
    if not any(labels) or not modes:
        return {}
    (mode,) = modes
    usual = inspect.signature(transform).parameters[mode].default
    given = ensure_tuple(arguments.get(mode, [("nearest" if label else str(usual)) for label in labels]))
    given = given * len(keys) if len(given) == 1 else given
    if any(label and own != "nearest" for label, own in zip(labels, given, strict=False)):
        raise InputError(f"{where}.{mode} is {quoted(arguments[mode])}, expected nearest for a label map.")
    return {mode: given}


def _check_image_keys(name: str, arguments: Mapping[str, Any], where: str) -> None:
    """InputError unless images are made from label maps, and clean images of both images if any."""
    clean = arguments.get("clean_keys")
    if clean is not None and (ensure_tuple(clean) != CLEAN or ensure_tuple(arguments["keys"]) != IMAGES):
        raise InputError(
            f"{where}.clean_keys is {quoted(clean)}, but {name} takes [{', '.join(CLEAN)}], with the keys "
            f"[{', '.join(IMAGES)}]."
        )
    for argument, known in (("keys", IMAGES), ("label_keys", LABELS)):
        given = arguments.get(argument)
        if not given or not set(ensure_tuple(given)) <= set(known):
            raise InputError(f"{where}.{argument} is {quoted(given)}, but {name} needs a list of {', '.join(known)}.")


def _moves(transform: Any) -> bool:
    """Whether a transform changes where things are, not only intensities."""
    own = type(transform)
    return not SPOILS_LABELS.search(f"{own.__module__}.{own.__name__}")


def _keys(transform: Any) -> tuple[Any, ...]:
    """All keys that a transform reads or writes."""
    return (*transform.keys, *getattr(transform, "label_keys", ()))


def _apply(transform: Any, pair: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    shape = pair["fixed"].shape
    try:
        made = transform(dict(pair))
        shapes = {made[key].shape for key in pair}
    except Exception as error:  # MONAI can raise any exception type
        raise InputError(
            f"{where} fails on images of {times(shape[1:])} voxels: {one_line(error).rstrip('.')}."
        ) from None
    crops = type(transform).__name__ in CROPS
    if len(shapes) > 1 or (shapes != {shape} and not crops):
        found = next(other for other in shapes if other != shape)
        rule = f"a crop must name {', '.join(pair)}" if crops else "a transform must keep it"
        raise InputError(f"{where} changes the size from {times(shape[1:])} to {times(found[1:])}; {rule}.")
    (left,) = shapes
    if crops and (left == shape or min(left[1:]) < SMALLEST):
        raise InputError(
            f"{where} makes images of {times(left[1:])} voxels of those of {times(shape[1:])}; give a size that is "
            f"smaller than the images, and at least {SMALLEST} along each axis."
        )
    return made


def _is_plain(value: Any) -> bool:
    """Whether the value can be neither a path nor code to call."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int) or (isinstance(value, str) and bool(WORD.fullmatch(value)))


def _nearest(name: Any, known: Iterable[str]) -> str:
    close = nearest(name, known)
    return f"; did you mean {close}?" if close else f"; known are {', '.join(known)}."
