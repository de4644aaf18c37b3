from .backbones.vocabulary import (
    BACKBONES as BACKBONES,
    BackboneEntry as BackboneEntry,
    Integration as Integration,
    Option as Option,
)
from .blocks import DVF2DDF as DVF2DDF, Warp as Warp
from .coarse_to_fine import Optimized as Optimized, Schedule as Schedule, optimize as optimize
from .conditional.network import ConditionalVoxelMorph as ConditionalVoxelMorph
from .conditional.ranges import Condition as Condition, LambdaRanges as LambdaRanges
from .displacement_network import DisplacementNetwork as DisplacementNetwork
from .field_model import FieldModel as FieldModel, Registration as Registration
from .files.checkpoints import (
    Network as Network,
    load_model as load_model,
    read_model as read_model,
    save_model as save_model,
)
from .files.graphs import export_program as export_program, export_torchscript as export_torchscript
from .files.official_weights import (
    from_official as from_official,
    load_official as load_official,
    read_official as read_official,
    save_official as save_official,
    to_official as to_official,
)
from .lbfgs import has_converged as has_converged
from .objective.losses import (
    BendingEnergy as BendingEnergy,
    CurvaturePenalty as CurvaturePenalty,
    DigitalFoldingPenalty as DigitalFoldingPenalty,
    DivergencePenalty as DivergencePenalty,
    FoldingPenalty as FoldingPenalty,
    GradICONPenalty as GradICONPenalty,
    InverseConsistencyPenalty as InverseConsistencyPenalty,
    L1Penalty as L1Penalty,
    L2Penalty as L2Penalty,
    LinearElasticityPenalty as LinearElasticityPenalty,
    LogJacobianPenalty as LogJacobianPenalty,
    Penalty as Penalty,
    SobolevPenalty as SobolevPenalty,
    TotalVariationPenalty as TotalVariationPenalty,
)
from .objective.objective import Objective as Objective, ObjectiveTerms as ObjectiveTerms
from .objective.penalties.bending import bending_energy as bending_energy
from .objective.penalties.consistency import gradicon as gradicon, inverse_consistency as inverse_consistency
from .objective.penalties.curvature import curvature_penalty as curvature_penalty
from .objective.penalties.elasticity import (
    divergence_penalty as divergence_penalty,
    linear_elasticity as linear_elasticity,
)
from .objective.penalties.first_order import l1_penalty as l1_penalty, l2_penalty as l2_penalty
from .objective.penalties.sobolev import sobolev_norm as sobolev_norm
from .objective.penalties.total_variation import total_variation as total_variation
from .objective.penalties.volume import (
    digital_folding as digital_folding,
    folding_penalty as folding_penalty,
    log_jacobian as log_jacobian,
)
from .objective.similarities import (
    CharbonnierLoss as CharbonnierLoss,
    GradientMSELoss as GradientMSELoss,
    LocalNCCLoss as LocalNCCLoss,
    MutualInformationLoss as MutualInformationLoss,
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
from .refinement import (
    LEAST_GAIN as LEAST_GAIN,
    MOST_STEPS as MOST_STEPS,
    Refinement as Refinement,
    refine as refine,
    refine_field as refine_field,
)
from .voxelmorph import VoxelMorph as VoxelMorph
