"""The protocol and the data of a study in words, from its settings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ...networks import BACKBONES, PENALTIES, SIMILARITIES
from ...pipeline import INTENSITIES, METHODS, READERS, TrialSettings
from ..store.run_folder import Run
from ..study.setting_keys import leaves_of, registry_at, value_in_words
from .blocks import Table
from .headings import heading, value_name
from .tables import from_frame

AXES = {2: "2\N{NON-BREAKING HYPHEN}D", 3: "3\N{NON-BREAKING HYPHEN}D"}
MANY = 3
"""The protocol describes at most this number of variants."""


def protocol(run: Run) -> list[tuple[str, str]]:
    """How the trials were trained, or registered without training: pairs of term and explanation."""
    by_method: dict[str, dict[str, TrialSettings]] = {}
    for name, trial in run.trials.items():
        by_method.setdefault(trial.model.method, {})[name] = trial
    parts = {method: Run(run.path, run.study, trials) for method, trials in by_method.items()}
    found: list[tuple[str, str]] = []
    for name in METHODS.in_order(parts):
        method, part = METHODS[name], parts[name]
        if method.trains:
            found += _networks(part)
            continue
        found.append((method.title, _each(part, method.described)))
        found += _objectives(part) if method.has_objective else []
    return found


def _objectives(run: Run) -> list[tuple[str, str]]:
    """What is minimized, and on which field."""
    trials = list(run.trials.values())
    penalties = dict.fromkeys(PENALTIES.title(trial.objective.penalty) for trial in trials)
    weights = sorted({trial.objective.weight for trial in trials})
    return [
        ("Model", _each(run, _model)),
        ("Objective", _each(run, _objective)),
        ("Penalty" if len(penalties) == 1 else "Penalties", ", ".join(penalties)),
        ("λ", ", ".join(f"{weight:g}" for weight in weights)),
        ("Acts on", _each(run, lambda trial: trial.objective.field_in_words)),
    ]


def _networks(run: Run) -> list[tuple[str, str]]:
    trials = run.trials.values()
    seeds = sorted({trial.seed for trial in trials})
    # Building a network to count its parameters takes time, and most trials have the same.
    networks = {(trial.cohort.spatial_dims, trial.model, trial.objective.condition): trial for trial in trials}
    return [
        ("Network", _different(_network(trial) for trial in networks.values())),
        *_objectives(run),
        ("Training", _each(run, _training)),
        ("Weights tested", _each(run, lambda trial: trial.training.in_words("selection"))),
        ("Seed" if len(seeds) == 1 else "Seeds", ", ".join(map(str, seeds))),
    ]


def groups(run: Run) -> Table:
    """The settings that vary: one line per group of the study."""
    lines = []
    for group in run.study.groups:
        varied = [_setting(key, values) for key, values in group.axes.items() if len(values) > 1]
        fixed = {key: values[0] for key, values in group.axes.items() if len(values) == 1} | dict(group.settings)
        lines.append(
            {
                "group of the study": group.name,
                "trials": len(run.study.group_trials(group.name)),
                "varies": "; ".join(varied) or "nothing",
                "fixed": "; ".join(_setting(key, (value,)) for key, value in fixed.items()) or "as above",
            }
        )
    return from_frame("groups", pd.DataFrame(lines), "What varies", csv=False)


def data(run: Run, environments: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The subjects and pairs: term and explanation. ``environments``: what each trial recorded, by identifier."""
    counts = {key: _noted(environments, key) for key in ("subjects", "test_pairs", "validation_pairs", "data")}
    items = [("Cohort", _each(run, _cohort)), ("Split", _each(run, _split))]
    subjects = [
        ", ".join(f"{count} {side}" for side, count in sides.items())
        for sides in counts["subjects"]
        if isinstance(sides, dict)
    ]
    items.append(("Subjects", "; ".join(subjects) or "not recorded"))
    for side in ("test", "validation"):
        hashes = ", ".join(map(str, counts[f"{side}_pairs"])) or "not recorded"
        items.append((f"{side.capitalize()} pairs", f"{_each(run, _pairs(side, counts['subjects']))}; hash {hashes}"))
    items.append(("Hash of the data", ", ".join(map(str, counts["data"])) or "not recorded"))
    return items


def _noted(environments: Mapping[str, Mapping[str, Any]], key: str) -> list[Any]:
    """The different values that trials recorded for ``key``, in order."""
    found: list[Any] = []
    for environment in environments.values():
        if key in environment and environment[key] not in found:
            found.append(environment[key])
    return found


def _each(run: Run, say: Callable[[TrialSettings], str]) -> str:
    """What ``say`` gives for each trial, without repetition."""
    return _different(say(trial) for trial in run.trials.values())


def _different(words: Iterable[str]) -> str:
    ways = list(dict.fromkeys(words))
    more = len(ways) - MANY
    return "; or ".join(ways[:MANY]) + (f"; or {more} more variants (see the table)" if more > 0 else "")


def _setting(key: str, values: tuple[Any, ...]) -> str:
    registry = registry_at(key)
    return f"{heading(key)} {', '.join(map(registry.title if registry else value_name, values))}"


def _network(trial: TrialSettings) -> str:
    from ...pipeline.training.parts import count_parameters

    dims = trial.cohort.spatial_dims
    backbone = BACKBONES[trial.model.backbone]
    own = ", ".join(_options(trial.model.options))
    size, options = f"{count_parameters(trial):,} parameters", own or backbone.usual
    words = [backbone.title, AXES[dims], f"{options} ({size})" if options else size]
    beyond = trial.model.in_words("padding_mode")
    known = "" if backbone.usual else f"; {backbone.definition}"
    return f"{', '.join(words)}{known}; outside the image: {beyond}{_condition(trial)}"


def _options(given: Mapping[str, Any]) -> list[str]:
    plain = {name: [*value] if isinstance(value, tuple) else value for name, value in given.items()}
    return [f"{heading(name)} {value_name(value)}" for name, value in plain.items()]


def _condition(trial: TrialSettings) -> str:
    """What a network for many λ was trained for; empty for an ordinary one."""
    condition = trial.objective.condition
    if condition.of_each is None:
        return ""
    ranges = condition.of_each.ranges.items()
    listed = ", ".join(f"{PENALTIES.title(name)} {low:g} to {high:g}" for name, (low, high) in ranges)
    mixed = f", in {100 * condition.mixtures:g} % of the steps a mixture of them" if condition.mixtures else ""
    return (
        f"; one network for many λ ({condition.kind}), which the trials share: each step draws a penalty and λ "
        f"({listed}){mixed}"
    )


def _model(trial: TrialSettings) -> str:
    model = trial.model
    if not model.integration_steps:
        return (
            "displacement: the predicted or optimized field warps the image directly and can fold; displacement and "
            "velocity are the same field"
        )
    resolution = model.in_words("integration_downsize")
    return (
        f"diffeomorphic: a stationary velocity field at {resolution} resolution is integrated to the displacement by "
        f"scaling and squaring ({model.integration_steps} steps)"
    )


def _objective(trial: TrialSettings) -> str:
    loss, factor = SIMILARITIES[trial.objective.similarity].loss_in_words, trial.objective.multiplier
    return f"{loss} + λ · {'' if factor == 1 else f'{factor:g} · '}penalty"


def _training(trial: TrialSettings) -> str:
    training = trial.training
    pairs = "one pair" if training.batch_size == 1 else f"{training.batch_size} pairs"
    epochs = "1 epoch" if training.epochs == 1 else f"{training.epochs} epochs"
    words = [f"{epochs} of {training.steps_per_epoch} steps; {pairs} of training subjects per step"]
    words.append(training.in_words("schedule"))
    if training.start is not None:
        words.append(f"it starts from the weights of {training.start}")
    if training.penalty_warmup:
        words.append(f"λ grows from 0 over the first {100 * training.penalty_warmup:g} % of the steps")
    if training.augment:
        words.append(f"random augmentation of each pair: {value_in_words(leaves_of(trial)['training.augment'])}")
    if training.both_directions:
        words.append("each pair is registered in both directions")
    if training.gradient_clipping is not None:
        words.append(f"gradients are scaled down to a norm of at most {training.gradient_clipping:g}")
    if training.weight_averaging is not None:
        words.append(f"a moving average of the weights is evaluated (decay {training.weight_averaging:g} per step)")
    words.append(training.in_words("precision"))
    return "; ".join(filter(None, words))


def _cohort(trial: TrialSettings) -> str:
    cohort = trial.cohort
    reader = READERS[cohort.reader]
    words = [f"{reader.meaning}, {AXES[cohort.spatial_dims]}"]
    words += _options(cohort.given())
    words += [f"{cohort.subjects} subjects"] if cohort.subjects else []
    words += [] if reader.on_disk else [f"seed {cohort.seed}"]
    words += [cohort.in_words("align")]
    scaling = INTENSITIES[cohort.intensity]
    words += [f"intensities: {scaling.definition}"] if scaling.target else []
    words += [f"images of {' × '.join(map(str, cohort.size))} voxels"] if cohort.size else []
    words += [f"without {', '.join(cohort.exclude)}"] if cohort.exclude else []
    return "; ".join(filter(None, words))


def _split(trial: TrialSettings) -> str:
    split = trial.split
    words = f"by subject, {split.in_words('source')}"
    if split.source in ("fractions", "files"):
        sides = (split.train, split.validation, *([] if split.test is None else [split.test]))
        words += f" ({', '.join(map(str, sides))})"
    if split.source == "published" and split.test is not None:
        words += f"; a fraction of {split.test} of its validation subjects is the test set"
    if split.source == "fractions" or (split.source == "published" and split.test is not None):
        words += f"; seed {split.seed}"
    return words + ("; test pairs are made of validation subjects" if split.test is None else "")


def _pairs(side: str, subjects: Sequence[Mapping[str, int]]) -> Callable[[TrialSettings], str]:
    """The number of pairs of a side: the requested number, or all pairs of its subjects if these are fewer."""

    def say(trial: TrialSettings) -> str:
        asked = getattr(trial.pairs, side)
        if trial.pairs.chosen:  # how many there are only the data say
            return f"at most {asked}, {_chosen(trial)}, drawn once from seed {trial.pairs.seed}"
        possible = max((count * (count - 1) for count in (sides.get(side, 0) for sides in subjects)), default=0)
        there = min(asked, possible or asked)
        return f"{there}, ordered, drawn once with seed {trial.pairs.seed}"

    return say


def _chosen(trial: TrialSettings) -> str:
    """Which scans are registered to which: ``within a group, of the same slice, phase es onto phase ed``."""
    pairs = trial.pairs
    words = pairs.in_words("source")
    words += f", of the same {' and '.join(pairs.match)}" if pairs.match else ""
    ends = [", ".join(f"{name} {text}" for name, text in own) or "any" for own in (pairs.moving, pairs.fixed)]
    return words + (f", {ends[0]} onto {ends[1]}" if pairs.moving or pairs.fixed else "")
