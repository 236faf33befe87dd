"""Memory of the CPU's tensors, which come and go with every layer."""

import ctypes
import sys

# of <malloc.h>
TRIM_THRESHOLD, MAP_THRESHOLD = -1, -3
KEPT = 2**31 - 1  # bytes at the end of the heap that are not given back; the greatest int
LARGEST = 2**30  # bytes of a block that is still taken from the heap


def keep_freed_memory() -> bool:
    """Has the C library keep what this process frees for its next tensors; whether it can be told so.

    The GNU C library maps blocks of more than 32 MiB one by one, and gives them and the end of its heap back to the
    system at once when they are freed. A training step frees everything, so that the next one has the system find and
    clear all its pages again: a tenth to a quarter of the CPU's time (`benchmarks/allocation.py`). What is kept is
    what the largest step needs at once, which is needed again by the next one. It stays so until the process ends.
    Other C libraries are left alone.
    """
    if sys.platform != "linux":
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return set_option is not None and all((set_option(TRIM_THRESHOLD, KEPT), set_option(MAP_THRESHOLD, LARGEST)))
