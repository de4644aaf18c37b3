"""A cache for tensors that are computed once and used by many calls, such as grids."""

import threading
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

MOST = 16


def keep(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Cache the latest results of ``make`` by its positional arguments.

    Unlike ``functools.lru_cache``, this does not keep tensors made while a graph is recorded (``torch.jit.trace``,
    ``torch.export``, ``torch.compile``, CUDA graphs): they belong to that graph, and a later call must not use them.
    Tensors that are already in the cache become constants of the graph. Results are made outside inference mode, so
    that a later training step can use them. A CUDA graph reads its tensors from fixed memory; they are never freed.
    """
    kept: dict[tuple[Hashable, ...], Tensor] = {}
    recorded: set[Tensor] = set()
    lock = threading.Lock()  # several threads load subjects

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
