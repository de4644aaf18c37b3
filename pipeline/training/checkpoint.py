"""The checkpoint that training writes after each epoch, and resuming from it."""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ...networks import Network
from ...networks.files.weights import check_weights, read_torch
from ...transforms.basics.errors import InputError, one_line, quoted
from ..files.text import write_atomically
from ..settings.schema import TrainingSettings, TrialSettings

Weights = dict[str, Tensor]
FILE = "checkpoint.pt"
COLUMNS = (
    *("epoch", "train_loss", "train_similarity", "train_penalty", "seconds"),
    *("validation_loss", "validation_similarity", "validation_penalty"),
)
"""Columns of the training history."""


@dataclass
class TrainingState:
    """The state of a training after an epoch: all that resuming needs, except the states of optimizer and schedule."""

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0
    best: Weights = field(default_factory=dict)
    last: Weights = field(default_factory=dict)

    @classmethod
    def resume(
        cls, folder: Path, settings: TrialSettings, model: Network, optimization: Mapping[str, Any]
    ) -> "TrainingState":
        """Read the state in ``folder/checkpoint.pt``, and load it into the model, the optimizer and the schedule.

        Without that file, return a new state. ``history.parquet`` is rewritten from the checkpoint.

        Args:
            folder: the trial's folder.
            settings: the trial.
            model: gets the last weights.
            optimization: the ``optimizer`` and the ``schedule``, by these names.

        Raises:
            InputError: the file is damaged or belongs to another configuration.
        """
        path = folder / FILE
        advice = "delete it to train this trial from the beginning"
        try:
            saved = read_torch(path)
            if not isinstance(saved, dict) or set(saved) != {"identity", *optimization, *vars(cls())}:
                raise InputError("it does not have the parts of a checkpoint")
            ours = saved.pop("identity") == json.dumps(settings.training_identity(), sort_keys=True)
            state, parts = cls._checked(saved, settings.training, model, optimization) if ours else (cls(), {})
        except FileNotFoundError:  # a check beforehand would fail if the file were removed just after it
            return cls()
        except (PermissionError, MemoryError):
            raise
        except Exception as error:  # a damaged file can raise almost any exception
            raise InputError(f"{path} is damaged ({one_line(error)}); {advice}.") from None
        if not ours:
            raise InputError(f"{path} belongs to another configuration; {advice}.")
        model.load_state_dict(state.last)  # outside `try`: a full GPU does not mean a damaged file
        for name, part in optimization.items():
            part.load_state_dict(parts[name])
        state._write_history(folder)  # it may have been deleted
        return state

    @classmethod
    def _checked(
        cls, saved: dict[str, Any], training: TrainingSettings, model: Network, optimization: Mapping[str, Any]
    ) -> tuple["TrainingState", dict[str, Any]]:
        """The training state in ``saved`` and the states of optimizer and schedule.

        It raises unless :meth:`save` can have written them. From the file, optimizer and schedule take only the
        moments, the number of steps and the learning rate; the settings decide everything else. Where weights
        are averaged, their average is among the returned states.
        """
        optimizer, schedule = (saved.pop(name) for name in ("optimizer", "schedule"))
        averages = {name: saved.pop(name) for name in optimization if name == "average"}  # of weights
        state, expected = cls(**saved), model.state_dict()
        state.last, state.best = (check_weights(weights, expected) for weights in (state.last, state.best))
        averages = {name: check_weights(weights, expected) for name, weights in averages.items()}
        _check_epochs(state, training.epochs)
        steps = state.epoch * training.steps_per_epoch
        rate = _check_optimization(optimizer, schedule, model, training, steps)
        groups = [{**group, "lr": rate} for group in optimization["optimizer"].state_dict()["param_groups"]]
        counts = {"last_epoch": steps, "_step_count": steps + 1, "_last_lr": [rate]}
        return state, {
            "optimizer": {"state": optimizer["state"], "param_groups": groups},
            "schedule": {**optimization["schedule"].state_dict(), **counts},
            **averages,
        }

    def save(self, folder: Path, settings: TrialSettings, model: Network, optimization: Mapping[str, Any]) -> None:
        """Write ``checkpoint.pt`` and ``history.parquet``, each atomically."""
        self.last = copy_weights(model)
        content: dict[str, Any] = {
            "identity": json.dumps(settings.training_identity(), sort_keys=True),
            **{name: part.state_dict() for name, part in optimization.items()},
            **vars(self),
        }
        # The checkpoint is last: a trial killed between the two repeats the epoch and writes the same history again.
        self._write_history(folder)
        serialized = io.BytesIO()  # because torch.save to a full disk raises RuntimeError
        torch.save(content, serialized)
        write_atomically(folder / FILE, lambda path: path.write_bytes(serialized.getbuffer()))

    def _write_history(self, folder: Path) -> None:
        write_atomically(folder / "history.parquet", pd.DataFrame(self.history).to_parquet)


def has_checkpoint(folder: Path) -> bool:
    """Whether a training in this folder has begun, so that it resumes."""
    return (folder / FILE).is_file()


def copy_weights(model: Network) -> Weights:
    """A copy of the current weights."""
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def _check_epochs(state: TrainingState, most: int) -> None:
    """Raise InputError unless epoch, history and best epoch are consistent."""
    if not isinstance(state.history, list) or not all(isinstance(row, dict) for row in state.history):
        raise InputError("its history is not a list of epochs")
    rows, losses = state.history, [row.get("validation_loss", math.nan) for row in state.history]
    if type(state.epoch) is not int or not 1 <= state.epoch <= most or len(rows) != state.epoch:
        raise InputError(f"its epoch is {quoted(state.epoch)} of {most}, and its history has {len(rows)} rows")
    for epoch, row in enumerate(rows, 1):
        if set(row) != set(COLUMNS) or row["epoch"] != epoch or not all(map(_is_finite, row.values())):
            raise InputError(f"row {epoch} of its history has wrong columns, epoch or numbers (not finite)")
    if state.best_loss != min(losses) or state.best_epoch != losses.index(min(losses)) + 1:
        raise InputError("its best epoch is not the epoch with the lowest loss in its history")


def _check_optimization(
    optimizer: dict[str, Any], schedule: dict[str, Any], model: Network, training: TrainingSettings, steps: int
) -> float:
    """The learning rate; InputError unless Adam and the schedule can have these states after ``steps``."""
    try:
        states = [dict(optimizer["state"][index]) for index, _ in enumerate(model.parameters())]
        taken = {float(state.pop("step")) for state in states}
        counted, rate = schedule["last_epoch"], optimizer["param_groups"][0]["lr"]
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError):
        raise InputError("its optimizer has other parts than Adam's state") from None
    for moments, parameter in zip(states, model.parameters(), strict=True):
        checked = check_weights(moments, dict.fromkeys(("exp_avg", "exp_avg_sq"), parameter))
        if bool((checked["exp_avg_sq"] < 0).any()):
            raise InputError("its optimizer state holds a mean of squares below 0")
    if taken != {min(steps, 1 << 24)} or counted != steps:  # Adam counts in single precision
        raise InputError(f"its optimizer or schedule did not take the {steps} steps of its epochs")
    # After the last step, a one-cycle schedule holds the rate of the step beyond its end, which is negative.
    ended = steps == training.epochs * training.steps_per_epoch
    if not _is_finite(rate) or not (ended or 0 <= rate <= training.learning_rate * (1 + 1e-6)):
        raise InputError(f"its learning rate is {quoted(rate)}, but the trial's is {training.learning_rate:g}")
    return rate


def _is_finite(number: Any) -> bool:
    return type(number) in (int, float) and math.isfinite(number)
