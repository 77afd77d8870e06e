"""How a loop over bytes or numbers is compiled: at its first call, then read from the cache on disk.

Divisions are numpy's: no kernel divides by zero, and Python's error for it makes each longer to compile. A kernel is
compiled anew for each kind of argument, read-only arrays and writable ones too: callers keep to one.
Not here: the kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def kernel(function: Callable[..., Any]) -> Any:
    """The function, compiled on its own; small ones are merged into their callers by LLVM."""
    return njit(cache=True, nogil=True, error_model="numpy")(function)


def inlined(function: Callable[..., Any]) -> Any:
    """The function, written out by numba where it is called: each place compiles it again, so for one or two only."""
    return njit(cache=True, nogil=True, inline="always")(function)
