"""What a training writes after every epoch, and how it goes on from there."""

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

from ...networks import VoxelMorph
from ...networks.files.weights import check_weights, read_torch
from ...transforms.basics.errors import InputError, one_line, quoted
from ..files.text import write_atomically
from ..settings.schema import TrainingSettings, TrialSettings

Weights = dict[str, Tensor]
COLUMNS = (
    *("epoch", "train_loss", "train_similarity", "train_penalty", "seconds"),
    *("validation_loss", "validation_similarity", "validation_penalty"),
)
"""Of a history."""


@dataclass
class TrainingState:
    """What a trial knows after an epoch, and all that resuming needs beside the optimizer and its schedule."""

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0
    best: Weights = field(default_factory=dict)
    last: Weights = field(default_factory=dict)

    @classmethod
    def resume(
        cls, folder: Path, settings: TrialSettings, model: VoxelMorph, optimization: Mapping[str, Any]
    ) -> "TrainingState":
        """The state in ``folder/checkpoint.pt``, loaded into the model and, by name, into what optimizes it.

        A fresh one without that file. ``history.parquet`` is written anew from it.

        Raises:
            InputError: the file is damaged or belongs to another configuration.
        """
        path = folder / "checkpoint.pt"
        advice = "delete it to train this trial from the beginning"
        try:
            saved = read_torch(path)
            if not isinstance(saved, dict) or set(saved) != {"identity", *optimization, *vars(cls())}:
                raise InputError("it does not have the parts of a checkpoint")
            ours = saved.pop("identity") == json.dumps(settings.identity(), sort_keys=True)
            state, parts = cls._checked(saved, settings.training, model, optimization) if ours else (cls(), {})
        except FileNotFoundError:  # asked before, somebody could remove it in between
            return cls()
        except (PermissionError, MemoryError):
            raise
        except Exception as error:  # what a damaged file holds can fail in many ways
            raise InputError(f"{path} is damaged ({one_line(error)}); {advice}.") from None
        if not ours:
            raise InputError(f"{path} belongs to another configuration; {advice}.")
        model.load_state_dict(state.last)  # a full GPU is no damage
        for name, part in optimization.items():
            part.load_state_dict(parts[name])
        state._write_history(folder)  # somebody may have deleted it
        return state

    @classmethod
    def _checked(
        cls, saved: dict[str, Any], training: TrainingSettings, model: VoxelMorph, optimization: Mapping[str, Any]
    ) -> tuple["TrainingState", dict[str, Any]]:
        """The state in a file, and those of optimizer and schedule; it raises unless :meth:`save` can have written it.

        Of the latter two only moments, steps and learning rate are taken; the settings decide the rest. Where weights
        are averaged, their average is among the states.
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

    def save(self, folder: Path, settings: TrialSettings, model: VoxelMorph, optimization: Mapping[str, Any]) -> None:
        """Write ``checkpoint.pt`` and ``history.parquet``, each atomically."""
        self.last = copy_weights(model)
        content: dict[str, Any] = {
            "identity": json.dumps(settings.identity(), sort_keys=True),
            **{name: part.state_dict() for name, part in optimization.items()},
            **vars(self),
        }
        # The checkpoint last: killed between the two, a trial repeats the epoch and writes the same history again.
        self._write_history(folder)
        serialized = io.BytesIO()  # onto a full disk, torch.save itself raises RuntimeError
        torch.save(content, serialized)
        write_atomically(folder / "checkpoint.pt", lambda path: path.write_bytes(serialized.getbuffer()))

    def _write_history(self, folder: Path) -> None:
        write_atomically(folder / "history.parquet", pd.DataFrame(self.history).to_parquet)


def copy_weights(model: VoxelMorph) -> Weights:
    """The weights as they are now."""
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def _check_epochs(state: TrainingState, most: int) -> None:
    """InputError unless epochs, history and selection belong together."""
    if not isinstance(state.history, list) or not all(isinstance(row, dict) for row in state.history):
        raise InputError("its history is no list of epochs")
    rows, losses = state.history, [row.get("validation_loss", math.nan) for row in state.history]
    if type(state.epoch) is not int or not 1 <= state.epoch <= most or len(rows) != state.epoch:
        raise InputError(f"its epoch is {quoted(state.epoch)} of {most}, and its history has {len(rows)} rows")
    for epoch, row in enumerate(rows, 1):
        if set(row) != set(COLUMNS) or row["epoch"] != epoch or not all(map(_is_finite, row.values())):
            raise InputError(f"epoch {epoch} of its history is none, or holds more or other than finite numbers")
    if state.best_loss != min(losses) or state.best_epoch != losses.index(min(losses)) + 1:
        raise InputError("its best epoch is not the one of the lowest loss in its history")


def _check_optimization(
    optimizer: dict[str, Any], schedule: dict[str, Any], model: VoxelMorph, training: TrainingSettings, steps: int
) -> float:
    """The learning rate; InputError unless the states of Adam and of the schedule can be those after ``steps``."""
    try:
        states = [dict(optimizer["state"][index]) for index, _ in enumerate(model.parameters())]
        taken = {float(state.pop("step")) for state in states}
        counted, rate = schedule["last_epoch"], optimizer["param_groups"][0]["lr"]
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError):
        raise InputError("its optimizer has not the parts that Adam's has") from None
    for moments, parameter in zip(states, model.parameters(), strict=True):
        checked = check_weights(moments, dict.fromkeys(("exp_avg", "exp_avg_sq"), parameter))
        if bool((checked["exp_avg_sq"] < 0).any()):
            raise InputError("its optimizer holds a mean of squares below 0")
    if taken != {min(steps, 1 << 24)} or counted != steps:  # Adam counts in single precision
        raise InputError(f"its optimizer or schedule took other than the {steps} steps of its epochs")
    # After the last step, a one-cycle schedule holds the rate of a step beyond its end, which is below 0.
    ended = steps == training.epochs * training.steps_per_epoch
    if not _is_finite(rate) or not (ended or 0 <= rate <= training.learning_rate * (1 + 1e-6)):
        raise InputError(f"its learning rate is {quoted(rate)}, the trial's is {training.learning_rate:g}")
    return rate


def _is_finite(number: Any) -> bool:
    return type(number) in (int, float) and math.isfinite(number)
