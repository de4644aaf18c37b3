from .backbones.vocabulary import BACKBONES as BACKBONES, BackboneEntry as BackboneEntry, Integration as Integration
from .blocks import DVF2DDF as DVF2DDF, Warp as Warp
from .displacement_network import DisplacementNetwork as DisplacementNetwork
from .files.checkpoints import load_model as load_model, read_model as read_model, save_model as save_model
from .files.graphs import export_program as export_program, export_torchscript as export_torchscript
from .files.official_weights import (
    from_official as from_official,
    load_official as load_official,
    read_official as read_official,
    save_official as save_official,
    to_official as to_official,
)
from .objective.losses import (
    BendingEnergy as BendingEnergy,
    L1Penalty as L1Penalty,
    L2Penalty as L2Penalty,
    Penalty as Penalty,
)
from .objective.objective import Objective as Objective, ObjectiveTerms as ObjectiveTerms
from .objective.penalties.bending import bending_energy as bending_energy
from .objective.penalties.first_order import l1_penalty as l1_penalty, l2_penalty as l2_penalty
from .objective.similarities import (
    GradientMSELoss as GradientMSELoss,
    LocalNCCLoss as LocalNCCLoss,
    gradient_mse as gradient_mse,
)
from .objective.vocabulary import (
    PENALTIES as PENALTIES,
    SIMILARITIES as SIMILARITIES,
    PenaltyEntry as PenaltyEntry,
    SimilarityEntry as SimilarityEntry,
)
from .refine_transform import (
    RefineRegistration as RefineRegistration,
    RefineRegistrationD as RefineRegistrationD,
    RefineRegistrationd as RefineRegistrationd,
    RefineRegistrationDict as RefineRegistrationDict,
)
from .refinement import Refinement as Refinement, refine as refine, refine_field as refine_field
from .voxelmorph import Registration as Registration, VoxelMorph as VoxelMorph
