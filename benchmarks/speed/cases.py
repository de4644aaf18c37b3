"""The cases of the benchmark, by name."""

from functools import partial
from typing import Any

from .metrics import evaluations
from .networks import conditional_steps, forward_passes, training_steps
from .runs import epoch_overhead, loading, studies
from .sides import Case

_SLICE, _SMALL, _MIDDLE, _WHOLE = (160, 192), (64, 80, 64), (96, 112, 96), (160, 192, 224)

_FAST = "bfloat16"


def _step(name: str, shape: tuple[int, ...], precision: str, **more: Any) -> Case:
    title = f"step {'x'.join(map(str, shape))}, {precision}"
    return Case(name, title, training_steps, shape, precision, training=True, **more)


def _conditional(kind: str) -> Case:
    title = f"step 160x192, {_FAST}: ordinary / for every λ ({kind})"
    return Case(f"step-{kind}", title, partial(conditional_steps, kind), _SLICE, _FAST, rounds=12, repeats=10)


CASES = {
    case.name: case
    for case in (
        _step("step-2d", _SLICE, "float32", rounds=12, repeats=10),
        _step("step-2d-fast", _SLICE, _FAST, rounds=12, repeats=10),
        _step("step-3d", _SMALL, "float32", rounds=8),
        _step("step-3d-fast", _MIDDLE, _FAST, rounds=6, memory=True),
        _step("step-3d-whole", _WHOLE, _FAST, rounds=6, memory=True, devices=("cuda",)),
        _conditional("modulation"),
        _conditional("weights"),
        Case("forward-3d", "forward 160x192x224, float32", forward_passes, _WHOLE, rounds=5, warm_up=1, memory=True),
        Case("evaluation-3d", "evaluation 160x192x224", evaluations, _WHOLE, rounds=4, warm_up=1),
        Case("loading", "loading of 100 pairs", loading, _SLICE, rounds=10, devices=("cpu",)),
        Case("epoch", "epoch: all / its steps", epoch_overhead, _SLICE, _FAST, rounds=3, warm_up=1, one_process=True),
        Case(
            "study",
            "study in training: 1 worker / one a core",
            studies,
            _SLICE,
            _FAST,
            rounds=2,
            warm_up=0,
            devices=("cpu",),
        ),
    )
}
