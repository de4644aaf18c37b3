"""Many runs: studies, executors, and the tables, statistics, figures and report made from their rows."""

from .figures import draw_figures
from .outputs.tables import collect, summary
from .report import write_report
from .run.executors import Executor, LocalExecutor, available_cores
from .run.jobs import Event, Job
from .run.runner import run_study
from .statistics import Limit, accuracies, analyse, recommend
from .store.run_folder import Run, open_run
from .study.study import Study, built_in_studies, load_study

__all__ = [
    "Event",
    "Executor",
    "Job",
    "Limit",
    "LocalExecutor",
    "Run",
    "Study",
    "accuracies",
    "analyse",
    "available_cores",
    "built_in_studies",
    "collect",
    "draw_figures",
    "load_study",
    "open_run",
    "recommend",
    "run_study",
    "summary",
    "write_report",
]
