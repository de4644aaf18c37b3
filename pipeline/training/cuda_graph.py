"""Training steps on a GPU: recorded once as a CUDA graph, then replayed.

A 2-D step runs about 500 kernels of a few microseconds each. Launched one by one from Python, they take six times as
long as their arithmetic.
"""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ...networks import Objective, ObjectiveTerms

Step = Callable[..., ObjectiveTerms]
"""(moving, fixed), or with a weight map as the third -> terms of the objective; takes one optimizer step."""

WARM_UP = 3
"""Ordinary steps before the recording, in which the libraries choose kernels and the optimizer creates its state."""


class GraphedStep:
    """``step`` replayed as a CUDA graph: the same kernels on the same numbers, without Python between them.

    The first ``WARM_UP`` steps run without a graph. λ and the learning rate change from step to step: the graph reads
    them from GPU memory, which is set before each replay. The recording fixes all other values of the objective and
    the optimizer.

    Args:
        step: takes images of one shape on the GPU. It must neither wait for the GPU nor read from it.
        objective, optimizer: the ones that ``step`` uses; λ is ``objective.weight``.
    """

    def __init__(self, step: Step, objective: Objective, optimizer: torch.optim.Optimizer) -> None:
        self.step, self.objective, self.optimizer = step, objective, optimizer
        self.steps = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *images: Tensor) -> ObjectiveTerms:
        """Take a step on always as many images. The next step overwrites the memory of the returned terms."""
        self.steps += 1
        if self.steps <= WARM_UP:
            return self.step(*images)
        if self.graph is None:
            self.graph = self._record(*images)
        for kept, given in zip(self.images, images, strict=True):
            kept.copy_(given)
        self.weight.fill_(self.objective.weight)
        for kept, group in zip(self.rates, self.optimizer.param_groups, strict=True):
            kept.fill_(group["lr"])
        self.graph.replay()
        return self.terms

    def _record(self, *images: Tensor) -> torch.cuda.CUDAGraph:
        self.images = [image.clone() for image in images]
        device = images[0].device
        self.weight = torch.empty((), device=device)
        self.rates = [torch.empty((), device=device) for _ in self.optimizer.param_groups]
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(device),
            self._reading_from_memory(),
            torch.cuda.graph(graph, capture_error_mode="thread_local"),
        ):
            self.terms = self.step(*self.images)
        return graph

    @contextlib.contextmanager
    def _reading_from_memory(self) -> Iterator[None]:
        """Replace λ and the learning rates by tensors while the step is recorded."""
        weight, groups = self.objective.weight, self.optimizer.param_groups
        before = [{name: group[name] for name in ("lr", "capturable")} for group in groups]
        self.objective.weight = self.weight  # pyright: ignore[reportAttributeAccessIssue]
        for group, rate in zip(groups, self.rates, strict=True):
            group.update(lr=rate, capturable=True)
        try:
            yield
        finally:
            self.objective.weight = weight
            for group, values in zip(groups, before, strict=True):
                group.update(values)
