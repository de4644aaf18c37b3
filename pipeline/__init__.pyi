"""One run: a cohort, its pairs, training, evaluation, rows. And what a trained network is used for."""

from .cohorts.cohort import Cohort, Sample, Subject
from .cohorts.file_cohort import file_cohort, label_names, read_label_table
from .cohorts.opening import list_cohort, read_cohort
from .cohorts.preparation import Prepared, data_list, loading_transforms, prepare
from .downloads.datasets import fetch
from .evaluation.rows import by_network, evaluate
from .evaluation.vocabulary import METRICS, MetricEntry
from .exports.formats import export
from .models.built_in import shipped_models
from .models.trained_model import Trained, open_trained
from .pair_list import read_pairs
from .registration import ImagePair, Registered, register
from .settings.device import choose_device
from .settings.schema import CohortSettings, TrialSettings, parse
from .settings.vocabulary import METHODS, READERS, MethodEntry, ReaderEntry
from .training.loop import TrialFailed, train
from .trial import run_trial

__all__ = [
    "METHODS",
    "METRICS",
    "READERS",
    "Cohort",
    "CohortSettings",
    "ImagePair",
    "MethodEntry",
    "MetricEntry",
    "Prepared",
    "ReaderEntry",
    "Registered",
    "Sample",
    "Subject",
    "Trained",
    "TrialFailed",
    "TrialSettings",
    "by_network",
    "choose_device",
    "data_list",
    "evaluate",
    "export",
    "fetch",
    "file_cohort",
    "label_names",
    "list_cohort",
    "loading_transforms",
    "open_trained",
    "parse",
    "prepare",
    "read_cohort",
    "read_label_table",
    "read_pairs",
    "register",
    "run_trial",
    "shipped_models",
    "train",
]
