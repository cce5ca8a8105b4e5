"""How the C library keeps memory that training frees and asks for again within milliseconds."""

from __future__ import annotations

import ctypes
import sys

_TRIM, _TOP_PAD, _MMAP = -1, -2, -3
"""Names of glibc's ``mallopt``."""


def keep_heap() -> bool:
    """Let freed memory stay with this process instead of going back to the kernel page by page; whether that was possible.

    Micro-batches of different sizes otherwise shrink and grow the heap all the time, and each page that comes back is cold.
    Under glibc alone; elsewhere nothing changes. What several sizes leave between them adds to the peak (``training.memory``).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return all(mallopt(name, value) == 1 for name, value in ((_MMAP, 32 << 20), (_TRIM, 2**31 - 1), (_TOP_PAD, 64 << 20)))
