"""Settings of the C library's memory allocator that speed up training."""

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Make this process keep freed memory for its next tensors instead of returning it to the system.

    By default, glibc maps new memory for every large tensor, and the kernel clears it. In 3-D, this takes a quarter of
    a training step on a CPU. The setting holds for the whole process until it ends. It costs memory, because gaps
    between tensors are kept, too. Without glibc, this function does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):  # another operating system or C library
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def return_freed_memory() -> None:
    """Return free memory to the system. Threads that load large images would otherwise accumulate free fragments.

    Without glibc, this function does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
