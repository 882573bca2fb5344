"""Whether this machine has an NVIDIA GPU that a process may use. Makes no context on it."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import sys

_LIBRARY = "libcuda.so.1"
# A process that has called cuInit cannot fork children that use a GPU, so a process of its own asks.
_ASK = f"""
import ctypes
cuda, count = ctypes.CDLL({_LIBRARY!r}), ctypes.c_int()
print(count.value if cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0)
"""
_SECONDS = 30


@functools.cache
def count() -> int:
    """Return how many GPUs the driver gives to this process; 0 without a driver. Asked once per process."""
    if not has_driver():
        return 0
    try:
        line = [sys.executable, "-ISc", _ASK]
        ran = subprocess.run(line, capture_output=True, timeout=_SECONDS, check=True)  # noqa: S603 - it is our own
        return int(ran.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def has_driver() -> bool:
    """Tell whether the driver's library can be loaded."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    return True


def reason() -> str:
    """Return why there is no GPU to use, or an empty string."""
    if count():
        return ""
    return "the NVIDIA driver has no GPU for this process" if has_driver() else "there is no NVIDIA driver here"
