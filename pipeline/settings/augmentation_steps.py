"""The transforms that ``training.augment`` can name, and one of its steps built from its name and arguments."""

import inspect
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import monai.transforms
from monai.transforms.traits import RandomizableTrait
from monai.transforms.transform import MapTransform
from monai.utils.misc import ensure_tuple

from ... import transforms
from ...transforms.basics.errors import InputError, nearest, one_line, quoted
from .random_transforms import RANDOM_TRANSFORMS

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


class Step(NamedTuple):
    """A transform, ``where`` the settings name it, and whether it ``moves`` things, not only changes intensities."""

    where: str
    transform: Any
    moves: bool

    def __str__(self) -> str:
        return f"{self.where} ({type(self.transform).__name__})"

    @property
    def keys(self) -> tuple[Any, ...]:
        """All keys that the transform reads or writes."""
        return (*self.transform.keys, *getattr(self.transform, "label_keys", ()))


@cache
def augmentations() -> dict[str, type[MapTransform]]:
    """The transforms that are named by their class: MONAI's random dictionary transforms in ``ROOMS``, and ours."""
    public = {**vars(monai.transforms), **{name: getattr(transforms, name) for name in OURS}}
    return {name: each for name, each in public.items() if _can_be_named(name, each)}


def _can_be_named(name: str, public: Any) -> bool:
    if not _is_random(public) or public.__name__ != name:
        return False
    return name in (*OURS, *CROPS) or public.__module__.startswith(ROOMS)


def _is_random(public: Any) -> bool:
    """Whether it is the class of a random dictionary transform."""
    return isinstance(public, type) and issubclass(public, MapTransform) and issubclass(public, RandomizableTrait)


def _class_of(name: str, where: str) -> tuple[type[MapTransform], bool, Mapping[str, Any]]:
    """The class of a transform, whether it moves things, and the arguments that it always gets."""
    if name in RANDOM_TRANSFORMS:
        entry = RANDOM_TRANSFORMS[name]
        if not _is_random(made := entry.load()):
            raise InputError(
                f"{where}.transform: {quoted(entry.target)}, the target of {quoted(name)}, is no random dictionary "
                "transform; correct the entry."
            )
        return made, entry.moves, entry.arguments
    known = augmentations()
    if name not in known:
        hint = _nearest(name, [*RANDOM_TRANSFORMS, *known])
        hint += "".join(f" {fault[:1].upper()}{fault[1:]}." for fault in RANDOM_TRANSFORMS.faults)
        raise InputError(
            f"{where}.transform: {quoted(name)} is not a random dictionary transform that can be used here{hint}"
        )
    return known[name], not SPOILS_LABELS.search(f"{known[name].__module__}.{name}"), {}


def make_step(step: Mapping[str, Any], where: str) -> Step:
    """Build one transform; InputError names the setting ``where`` and what is wrong."""
    arguments = dict(step)
    name = arguments.pop("transform")
    kind, moves, always = _class_of(name, where)
    parameters = inspect.signature(kind).parameters
    for argument, value in arguments.items():
        if argument not in parameters:
            raise InputError(f"{where}.{argument}: {name} has no such argument{_nearest(argument, parameters)}")
        if not _is_plain(value):
            raise InputError(
                f"{where}.{argument} is {quoted(value)}, expected a number, a word, true, false, or a list of these."
            )
    arguments |= _sampling(kind, moves, arguments, where)
    if "label_keys" in parameters:
        _check_image_keys(name, arguments, where)
    if arguments.get("lazy"):
        raise InputError(f"{where}.lazy is true, but each transform is applied at once; leave it out.")
    if name in CROPS and arguments.get("random_size"):
        raise InputError(f"{where}.random_size is true, but all crops must have one size, to form batches.")
    try:
        return Step(where, kind(**{**arguments, **always}), moves)
    except Exception as error:  # MONAI can raise any exception type
        raise InputError(f"{where}: {name} does not accept these arguments: {one_line(error)}.") from None


def _sampling(transform: type, moves: bool, arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Arguments that make a transform sample label maps by nearest neighbour; InputError if that is impossible."""
    keys = ensure_tuple(arguments.get("keys", ()))
    if not keys or not set(keys) <= set(KEYS) or len(set(keys)) < len(keys):
        raise InputError(f"{where}.keys is {quoted(arguments.get('keys'))}, expected a list of {', '.join(KEYS)}.")
    labels = [key in LABELS for key in keys]
    if any(labels) and not moves:
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
