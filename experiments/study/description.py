"""How a terminal shows a study before it is run."""

from collections.abc import Sequence

from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text

from ...pipeline.settings.schema import TrialSettings
from ...transforms.basics.errors import printable_lines
from .screen import plain
from .setting_keys import leaves_of, value_in_words
from .study import Study, default_settings


def study_view(study: Study) -> Stack:
    """The settings that all trials share, and one line per trial with the settings that vary."""
    varying = [key for key in study.varying() if any(trial.concerns(key) for trial in study.trials)]
    shared = Table(show_header=False, box=None, padding=(0, 1, 0, 0))
    sections: dict[str, list[str]] = {}
    for key, value in leaves_of(study.trials[0]).items():
        if key not in varying and any(trial.concerns(key) for trial in study.trials):
            section, _, leaf = key.rpartition(".")
            sections.setdefault(section or "trial", []).append(f"{leaf} {value}")
    for section, words in sections.items():
        shared.add_row(plain(section, "bold"), plain(", ".join(words)))
    heading = plain(f"{study.title} · {len(study.trials)} trial{'s' * (len(study.trials) != 1)}", "bold")
    trials = Table()
    for column in ("#", "group", *(key.removeprefix("objective.") for key in varying)):
        trials.add_column(column, overflow="fold")
    groups = {group.name: set(study.group_trials(group.name)) for group in study.groups}
    for place, trial in enumerate(study.trials, 1):
        leaves = leaves_of(trial)
        names = ", ".join(name for name, members in groups.items() if trial in members)
        values = (plain(value_in_words(leaves[key])) if trial.concerns(key) else "" for key in varying)
        trials.add_row(str(place), plain(names), *values)
    return Stack(heading, Text(printable_lines(study.question)), shared, trials, *map(Text, without_effect(study)))


def without_effect(study: Study) -> list[str]:
    """A sentence for each setting of the study file that no method uses where it is given.

    Settings of ``base`` at their default are left out: a run's ``study.yaml`` has all of them. So are the sections
    ``compute``, which is about the machine, and ``pairs``, which studies copy from each other.
    """
    defaults = default_settings()
    given = [key for key, value in study.base.items() if key not in defaults or value != defaults[key]]
    sentences = [
        f"{key} in base has no effect: no method of this study uses it."
        for key in given
        if not _is_used(key, study.trials)
    ]
    for group in study.groups:
        trials = study.group_trials(group.name)
        kinds = {**dict.fromkeys(group.settings, "setting"), **dict.fromkeys(group.axes, "axis")}
        sentences += [
            f"The {kind} {key} of {group.name} has no effect: no method of this group uses it."
            for key, kind in kinds.items()
            if not _is_used(key, trials)
        ]
    return sentences


def _is_used(key: str, trials: Sequence[TrialSettings]) -> bool:
    return key.startswith(("compute.", "pairs.")) or any(trial.concerns(key) for trial in trials)
