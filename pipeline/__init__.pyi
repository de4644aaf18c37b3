from .cohorts.cohort import Cohort as Cohort, Sample as Sample, Subject as Subject
from .cohorts.file_cohort import (
    file_cohort as file_cohort,
    label_names as label_names,
    read_label_table as read_label_table,
)
from .cohorts.opening import list_cohort as list_cohort, read_cohort as read_cohort
from .cohorts.preparation import (
    Prepared as Prepared,
    data_list as data_list,
    loading_transforms as loading_transforms,
    prepare as prepare,
)
from .downloads.datasets import fetch as fetch
from .evaluation.rows import by_network as by_network, evaluate as evaluate
from .evaluation.vocabulary import METRICS as METRICS, MetricEntry as MetricEntry
from .exports.formats import export as export
from .models.built_in import shipped_models as shipped_models
from .models.trained_model import Trained as Trained, open_trained as open_trained
from .pair_list import read_pairs as read_pairs
from .registration import ImagePair as ImagePair, Registered as Registered, register as register
from .settings.device import choose_device as choose_device
from .settings.intensities import INTENSITIES as INTENSITIES, IntensityEntry as IntensityEntry
from .settings.random_transforms import (
    RANDOM_TRANSFORMS as RANDOM_TRANSFORMS,
    RandomTransformEntry as RandomTransformEntry,
)
from .settings.schema import CohortSettings as CohortSettings, TrialSettings as TrialSettings, parse as parse
from .settings.vocabulary import (
    METHODS as METHODS,
    READERS as READERS,
    MethodEntry as MethodEntry,
    ReaderEntry as ReaderEntry,
)
from .training.failure import TrialFailed as TrialFailed
from .training.loop import train as train
from .trial import run_trial as run_trial
