"""``training.augment``: random MONAI transforms, named in the settings and applied to each training pair.

The random draws depend only on the trial's seed, the epoch and the pair's index in the epoch. A resumed trial
therefore draws the same values as an uninterrupted one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms.compose import Compose
from torch import Tensor

from ... import transforms
from ...transforms.basics.errors import InputError, one_line, quoted, times
from ...transforms.basics.metadata import plain
from .augmentation_steps import CLEAN, CROPS, IMAGES, LABELS, LABELS_TEXT, Step, make_step
from .data_sections import SMALLEST


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
        self.steps = [make_step(step, f"training.augment[{place}]") for place, step in enumerate(steps)]
        self.transforms = Compose([step.transform for step in self.steps])
        self._check_order()
        self.clean = any(getattr(step.transform, "clean_keys", ()) for step in self.steps)
        self.labels = any(key in LABELS for step in self.steps for key in step.keys)

    def _check_order(self) -> None:
        """InputError if images would not fit: random shapes without images of them, clean images that are not moved."""
        made, shapes = "", ""
        for step in self.steps:
            where, transform, moves = step
            name = type(transform).__name__
            makes = hasattr(transform, "label_keys")
            if made and not makes and moves and set(IMAGES) & set(step.keys):
                raise InputError(f"{where}: {name} would not move the clean images; put it before {made}.")
            if isinstance(transform, transforms.RandShapesd):
                if set(transform.keys) != set(LABELS):
                    raise InputError(f"{where}.keys is {quoted(list(transform.keys))}, expected both of {LABELS_TEXT}.")
                shapes = f"{where}: {name}"
            if set(LABELS) <= set(getattr(transform, "label_keys", ())):
                shapes = ""
            made = str(step) if getattr(transform, "clean_keys", ()) else made
        if shapes:
            raise InputError(
                f"{shapes} replaces the label maps, so RandSyntheticImaged must follow it for both images."
            )

    def leaves_label_behind(self) -> str | None:
        """The first transform that moves the fixed image without its label map; None: there is none."""
        for step in self.steps:
            if step.moves and IMAGES[1] in step.transform.keys and LABELS[1] not in step.keys:
                return str(step)
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
        for step in self.steps:
            made = _apply(step, made)
        dtypes = {key: value.dtype for key, value in pair.items()}
        if self.clean:  # where none was made, the images themselves are compared
            made = {**{clean: made[image] for image, clean in zip(IMAGES, CLEAN, strict=True)}, **made}
            dtypes |= dict.fromkeys(CLEAN, pair[IMAGES[0]].dtype)
        return {key: plain(made[key]).to(dtype).contiguous() for key, dtype in dtypes.items()}


def _apply(step: Step, pair: Mapping[str, Tensor]) -> dict[str, Any]:
    shape, transform, where = pair["fixed"].shape, step.transform, str(step)
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
