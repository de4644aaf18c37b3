"""One trial: from a cohort to pairs, training, evaluation and rows; and registering a user's own images."""

from .cohorts.preparation import data_list, loading_transforms, prepare
from .settings.schema import CohortSettings, TrialSettings
from .trial import run_trial

__all__ = ["CohortSettings", "TrialSettings", "data_list", "loading_transforms", "prepare", "run_trial"]
