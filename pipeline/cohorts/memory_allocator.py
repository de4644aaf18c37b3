"""The C library's memory allocator, set up for training."""

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep freed memory for its next tensors instead of returning it to the system at every step.

    By default glibc maps every large tensor anew, and the kernel clears its pages: in 3-D a quarter of a training
    step on a CPU. It concerns the whole process and lasts, and costs memory: gaps between tensors are kept as well.
    Without glibc it does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):  # another system or C library
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def return_freed_memory() -> None:
    """Give what is free back to the system: threads that load large images leave it in pieces, ever more of them.

    Without glibc it does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
