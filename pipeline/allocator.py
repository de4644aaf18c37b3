"""The C library's memory allocator, set up for training."""

import contextlib
import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep freed memory for its next tensors instead of returning it to the system at every step.

    By default glibc maps every large tensor anew, and the kernel clears its pages: in 3-D a quarter of a training
    step on a CPU. It concerns the whole process and lasts; without glibc it does nothing. What is in use at a time,
    and so the peak, stays about the same.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
        mallopt(_M_TOP_PAD, 64 << 20)
