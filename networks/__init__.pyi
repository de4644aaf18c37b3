"""What is differentiable: VoxelMorph, penalties, similarity, the objective, and weights in and out."""

from .blocks import DVF2DDF, Warp
from .checkpoints import load_model, read_model, save_model
from .displacement import DisplacementNetwork
from .exports import export_program, export_torchscript
from .objective import LocalNCCLoss, Objective, ObjectiveTerms
from .official_weights import from_official, load_official, read_official, save_official, to_official
from .penalties import PENALTIES, BendingEnergy, L1Penalty, L2Penalty, Penalty, bending_energy, l1_penalty, l2_penalty
from .refinement import Refinement, refine
from .voxelmorph import Registration, VoxelMorph

__all__ = [
    "DVF2DDF",
    "PENALTIES",
    "BendingEnergy",
    "DisplacementNetwork",
    "L1Penalty",
    "L2Penalty",
    "LocalNCCLoss",
    "Objective",
    "ObjectiveTerms",
    "Penalty",
    "Refinement",
    "Registration",
    "VoxelMorph",
    "Warp",
    "bending_energy",
    "export_program",
    "export_torchscript",
    "from_official",
    "l1_penalty",
    "l2_penalty",
    "load_model",
    "load_official",
    "read_model",
    "read_official",
    "refine",
    "save_model",
    "save_official",
    "to_official",
]
