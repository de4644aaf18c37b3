"""λ as a field: a factor of the penalty for every voxel, by the structures of the fixed image."""

import torch
from torch import Tensor

from ...transforms.basics.errors import InputError, quoted
from ..cohorts.cohort import Cohort
from ..cohorts.preparation import Prepared
from ..settings.schema import ObjectiveSettings


def weight_map(settings: ObjectiveSettings, labels: Tensor | None, device: torch.device | None = None) -> Tensor | None:
    """The weight map (B, 1, *spatial), float32, for label maps; None if the trial has none or there are no labels.

    It is made on ``device``; None: where the label maps are.
    """
    own = settings.weight_map
    if not own.labels or labels is None:
        return None
    labels = labels.to(device)
    inside = torch.zeros_like(labels, dtype=torch.bool)
    for value in own.labels:  # on a GPU, torch.isin would wait for the list
        inside |= labels == value
    return torch.full_like(labels, own.outside, dtype=torch.float32).masked_fill_(inside, own.inside)


def check_weight_map(settings: ObjectiveSettings, prepared: Prepared) -> None:
    """Check that the cohort has the structures of the weight map.

    Raises:
        InputError: a subject has no label map, or no structure has such a value.
    """
    wanted, cohort = settings.weight_map.labels, prepared.cohort
    if not wanted:
        return
    if any(sample["label"] is None for sample in prepared.samples.values()):
        raise InputError("objective.weight_map names labels, but not all subjects of the cohort have label maps.")
    _check_values(wanted, cohort)


def _check_values(wanted: tuple[int, ...], cohort: Cohort) -> None:
    known = cohort.label_names
    if missing := [value for value in wanted if value not in known]:
        there = ", ".join(f"{value} ({name})" for value, name in list(known.items())[:10])
        more = f" and {len(known) - 10} more" if len(known) > 10 else ""
        raise InputError(
            f"objective.weight_map.labels has {quoted(missing[0])}, but the label maps have {there}{more}."
        )
