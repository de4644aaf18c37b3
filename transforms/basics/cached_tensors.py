"""Tensors that are made once and kept between calls, such as grids."""

import threading
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

MOST = 16


def keep(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``make`` with its latest results, by positional arguments.

    Unlike ``functools.lru_cache``, what is made while a graph is recorded (``torch.jit.trace``, ``torch.export``,
    ``torch.compile``, CUDA's) belongs to that graph and is not kept: a later call would compute with it. What was kept
    before is a constant of the graph. Results are made outside inference mode, so that a later training step may use
    them. A recording of CUDA's reads from where they lie, so that what was recorded once is never let go.
    """
    kept: dict[tuple[Hashable, ...], Tensor] = {}
    recorded: set[Tensor] = set()
    lock = threading.Lock()  # subjects are loaded by several threads

    def get(*key: Any) -> Tensor:
        found = kept.get(key)
        if found is not None:
            if found.is_cuda and torch.cuda.is_current_stream_capturing():
                recorded.add(found)
            return found
        with torch.inference_mode(False):
            made = make(*key)
        recording = torch.jit.is_tracing() or torch.compiler.is_compiling()  # pyright: ignore[reportPrivateImportUsage]
        if type(made) is Tensor and not recording and not (made.is_cuda and torch.cuda.is_current_stream_capturing()):
            with lock:
                while len(kept) >= MOST:
                    kept.pop(next(iter(kept)))
                kept[key] = made
        return made

    return get
