"""What is differentiable: VoxelMorph, penalties, similarity, the objective, and weights in and out."""

from .checkpoints import from_official, load_model, load_official, save_model, to_official
from .objective import LocalNCCLoss, Objective, ObjectiveTerms
from .penalties import PENALTIES, BendingEnergy, L1Penalty, L2Penalty, Penalty, bending_energy, l1_penalty, l2_penalty
from .refinement import Refinement, refine
from .voxelmorph import Registration, VoxelMorph

__all__ = [
    "PENALTIES",
    "BendingEnergy",
    "L1Penalty",
    "L2Penalty",
    "LocalNCCLoss",
    "Objective",
    "ObjectiveTerms",
    "Penalty",
    "Refinement",
    "Registration",
    "VoxelMorph",
    "bending_energy",
    "from_official",
    "l1_penalty",
    "l2_penalty",
    "load_model",
    "load_official",
    "refine",
    "save_model",
    "to_official",
]
