"""What the C library does with memory that is given back: in a service it keeps it, for the next block needs as much again.

A step of learning makes and drops matrices of megabytes. glibc would give each thread a heap of its own, of 64 MB, and what is
freed there back to the system: thousands of page faults a block. docs/decisions/0007-learner-thread.md
"""

from __future__ import annotations

import contextlib
import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Of <malloc.h>."""
KEPT_BYTES = 2**28
"""Free memory beyond this goes back."""
LARGEST_BYTES = 2**25
"""Larger blocks are mapped each by itself; glibc allows no more."""


def keep_freed_memory() -> None:
    """Call before other threads start. Whoever sets the allocator by environment variables is not overruled.

    Elsewhere than with glibc nothing happens.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, LARGEST_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
