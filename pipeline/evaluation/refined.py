"""Registration by a trained network and refinement of its field."""

import hashlib
import time

import torch

from ...networks import Objective, Registration, VoxelMorph, refine
from ...networks.displacement_network import check_finite
from ...transforms import InputError
from ..cohorts.cohort import Sample
from ..settings.schema import TrialSettings
from ..training.failure import TrialFailed
from ..training.weight_map import weight_map
from .rows import Registrar


def by_refinement(model: VoxelMorph, settings: TrialSettings, device: torch.device) -> Registrar:
    """A registrar that runs a network on ``device`` and refines its field. Its seconds count both.

    The registrar raises TrialFailed for a displacement that is not finite.
    """
    model = model.to(device).eval()
    objective, own = refinement_objective(settings).to(device), settings.refinement

    def register(moving: Sample, fixed: Sample) -> tuple[Registration, float]:
        images = moving["image"][None].to(device), fixed["image"][None].to(device)
        label = fixed["label"]
        weights = weight_map(settings.objective, None if label is None else label[None], device)
        started = time.perf_counter()
        found = refine(model, objective, *images, own.steps, weight_map=weights, tolerance=own.tolerance).registration
        parts = {name: part.float().cpu() for name, part in found._asdict().items() if part is not None}
        seconds = time.perf_counter() - started
        try:
            check_finite(parts["displacement"], f"the refined network of {moving['id']} to {fixed['id']}")
        except InputError as error:
            raise TrialFailed(str(error)) from None
        return Registration(**parts), seconds

    return register


def refinement_objective(settings: TrialSettings) -> Objective:
    """What refinement minimizes: the objective of the training, with what the section ``refinement`` replaces in it."""
    replaced = settings.refinement.model_dump(include={"similarity", "penalty", "weight"}, exclude_none=True)
    return Objective(settings.cohort.spatial_dims, **{**settings.objective.arguments(), **replaced})


def digest_of_weights(model: VoxelMorph) -> str:
    """The sha256 of a network's weights: pairs that another network refined must not be taken for those of this one."""
    found = hashlib.sha256()
    for weight in model.state_dict().values():
        found.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()
