"""What is differentiable: VoxelMorph, penalties, similarity, the objective, and weights in and out."""

from .backbones.vocabulary import BACKBONES, BackboneEntry, Integration
from .blocks import DVF2DDF, Warp
from .displacement_network import DisplacementNetwork
from .files.checkpoints import load_model, read_model, save_model
from .files.graphs import export_program, export_torchscript
from .files.official_weights import from_official, load_official, read_official, save_official, to_official
from .objective.losses import BendingEnergy, L1Penalty, L2Penalty, Penalty
from .objective.objective import Objective, ObjectiveTerms
from .objective.penalties.bending import bending_energy
from .objective.penalties.first_order import l1_penalty, l2_penalty
from .objective.similarities import LocalNCCLoss
from .objective.vocabulary import PENALTIES, SIMILARITIES, PenaltyEntry, SimilarityEntry
from .refine_transform import RefineRegistration, RefineRegistrationD, RefineRegistrationd, RefineRegistrationDict
from .refinement import Refinement, refine, refine_field
from .voxelmorph import Registration, VoxelMorph

__all__ = [
    "BACKBONES",
    "DVF2DDF",
    "PENALTIES",
    "SIMILARITIES",
    "BackboneEntry",
    "BendingEnergy",
    "DisplacementNetwork",
    "Integration",
    "L1Penalty",
    "L2Penalty",
    "LocalNCCLoss",
    "Objective",
    "ObjectiveTerms",
    "Penalty",
    "PenaltyEntry",
    "RefineRegistration",
    "RefineRegistrationD",
    "RefineRegistrationDict",
    "RefineRegistrationd",
    "Refinement",
    "Registration",
    "SimilarityEntry",
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
    "refine_field",
    "save_model",
    "save_official",
    "to_official",
]
