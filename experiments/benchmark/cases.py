"""The cases of the benchmark, by name."""

from .metrics import evaluations
from .networks import forward_passes, training_steps
from .runs import epoch_overhead, studies
from .sides import Case

_SLICE, _SMALL, _MIDDLE, _WHOLE = (160, 192), (64, 80, 64), (96, 112, 96), (160, 192, 224)

CASES = {
    case.name: case
    for case in (
        Case("step-2d", "step 160x192, float32", training_steps, _SLICE, rounds=12, repeats=10),
        Case("step-2d-fast", "step 160x192, bfloat16", training_steps, _SLICE, "bfloat16", rounds=12, repeats=10),
        Case("step-3d", "step 64x80x64, float32", training_steps, _SMALL, rounds=8),
        Case("step-3d-fast", "step 96x112x96, bfloat16", training_steps, _MIDDLE, "bfloat16", rounds=6, memory=True),
        Case("forward-3d", "forward 160x192x224, float32", forward_passes, _WHOLE, rounds=3, warm_up=0, memory=True),
        Case("evaluation-3d", "evaluation 160x192x224", evaluations, _WHOLE, rounds=4, warm_up=1),
        Case("epoch", "epoch: all / its steps", epoch_overhead, _SLICE, "bfloat16", 3, 1, together=True),
        Case("study", "study: 1 worker / one a core", studies, _SLICE, "bfloat16", rounds=2, warm_up=0),
    )
}
