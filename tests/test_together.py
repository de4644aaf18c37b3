"""Trials that advance in turns in one process: each is what it is alone, and ends by itself."""

import pytest
import torch

from smoothmorph.experiments.executors import Job, LocalExecutor
from smoothmorph.pipeline.trial import run_trial, trial_in_turns
from smoothmorph.pipeline.turns import finish, on_own_stream
from smoothmorph.transforms import InputError
from test_training import assert_same, settings_of

FIFTY_STEPS = {
    "epochs": 5,
    "steps_per_epoch": 10,
    "learning_rate": 1e-3,
    "penalty_warmup": 0.5,
    "schedule": "one-cycle",
}
DIFFERENT = [("l1", 0.01, 0), ("l2", 0.1, 1), ("bending-hessian", 1.0, 2), ("l2", 0.0, 0), ("l1", 0.5, 3)]


def trials(**changes):
    """Five that differ in penalty, λ and seed."""
    return {
        f"{penalty}_{weight}_{seed}": settings_of(
            objective={"penalty": penalty, "lambda": weight}, seed=seed, training={**FIFTY_STEPS, **changes}
        )
        for penalty, weight, seed in DIFFERENT
    }


def together(settings, folder, root, number, listen=lambda event: None):
    jobs = [Job(name, trial, folder / name, root) for name, trial in settings.items()]
    LocalExecutor(1, number).run(jobs, trial_in_turns, listen)


def test_each_trial_is_what_it_is_alone(tiny_cohort, tmp_path):
    events = []
    together(trials(), tmp_path / "together", tiny_cohort(2), 3, events.append)
    for name, settings in trials().items():
        run_trial(settings, tmp_path / "alone" / name, tiny_cohort(2))
        assert_same(tmp_path / "alone" / name, tmp_path / "together" / name)
    ends = {event.trial: event.kind for event in events if event.kind not in ("started", "progress")}
    assert ends == dict.fromkeys(trials(), "finished")
    steps = [event.trial for event in events if event.kind == "progress" and event.progress.stage == "training"]
    first = list(trials())[:3]
    assert steps[:6] == first * 2  # a step each, in turns
    assert list(trials())[3] not in steps[: 3 * 50]  # which waits until one of the three has ended


def test_a_trial_that_fails_leaves_the_others_alone(tiny_cohort, tmp_path):
    settings = trials()
    diverging = next(iter(settings))
    settings[diverging] = settings_of(training={**FIFTY_STEPS, "learning_rate": 1e18}, objective={"lambda": 1.0})
    ends = {}
    together(settings, tmp_path, tiny_cohort(2), 5, lambda event: ends.update({event.trial: event}))
    assert "training diverged" in ends.pop(diverging).reason
    assert [event.kind for event in ends.values()] == ["finished"] * 4


def test_stopped_trials_are_told_and_go_on_bit_for_bit(tiny_cohort, tmp_path):
    settings, events = trials(), []

    def stop(event):
        events.append(event)
        if event.kind == "progress" and len(events) == 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together(settings, tmp_path / "stopped", tiny_cohort(2), 2, stop)
    assert [event.kind for event in events[-2:]] == ["interrupted"] * 2
    together(settings, tmp_path / "stopped", tiny_cohort(2), 4)
    together(settings, tmp_path / "whole", tiny_cohort(2), 1)
    for name in settings:
        assert_same(tmp_path / "whole" / name, tmp_path / "stopped" / name)


def test_turns_return_what_they_end_with():
    def count(turns):
        for _ in range(turns):
            yield
        return turns

    assert finish(count(3)) == 3
    assert finish(on_own_stream(count(3), torch.device("cpu"))) == 3


@pytest.mark.parametrize(
    ("numbers", "sentence"), [((1, 0), "--together 0: at least one"), ((2, 3), "leave out --workers 2")]
)
def test_numbers_that_do_not_fit_are_refused(numbers, sentence):
    with pytest.raises(InputError, match=sentence):
        LocalExecutor(*numbers)
