"""What this process may use of the machine."""

from __future__ import annotations

import contextlib
import functools
import os

_GROUPS = "/proc/self/cgroup"
_MOUNT = "/sys/fs/cgroup"
_WITHOUT_END = 1 << 30
# Options of glibc's mallopt, and their values in bytes: memory is mapped for itself from so many on, which is the most
# that glibc takes; so much that is free at the end of the heap is kept.
_MMAP_THRESHOLD, _MAPPED = -3, 32 << 20
_TRIM_THRESHOLD, _KEPT = -1, 16 << 20


def available_cores() -> int:
    """Return how many cores this process may use: its CPU affinity, limited by a container's quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    return min(cores, *_quotas()) if cores > 1 else cores


@functools.cache
def keep_freed_memory() -> None:
    """Have the C library keep some of what frames took for the next ones; with another than glibc, do nothing.

    Else every frame gets fresh pages, which the kernel clears one by one: a quarter of the time of a fast codec. Only
    for a process of dcmtx's own.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _MAPPED)
        mallopt(_TRIM_THRESHOLD, _KEPT)


@functools.cache
def _quotas() -> tuple[int, ...]:
    """Return the CPU quotas of this process's control groups, in whole cores, rounded up, and one huge value.

    Version 2, the hierarchy without listed controllers, has `cpu.max`; version 1 has `cpu.cfs_quota_us`. Parent groups
    are read too, because they may have a smaller quota.
    """
    found = [_WITHOUT_END]
    for line in _text(_GROUPS).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            mounts, read = [_MOUNT], _version_2
        elif "cpu" in controllers.split(","):
            mounts, read = [os.path.join(_MOUNT, controllers), os.path.join(_MOUNT, "cpu")], _version_1
        else:
            continue
        for mount in mounts:
            # A container may see its group's path outside the container; the mount itself is then its group.
            parts = [part for part in path.split("/") if part not in ("", "..")]
            for length in range(len(parts) + 1):
                cores = read(os.path.join(mount, *parts[:length]))
                if cores:
                    found.append(cores)
    return tuple(found)


def _version_2(group: str) -> int:
    """Return the quota of a group, or 0 for none. The file has quota and period in microseconds, or `max`."""
    return _cores(_text(os.path.join(group, "cpu.max")))


def _version_1(group: str) -> int:
    """Return the quota of a group, or 0 for none. The file has -1 for no quota."""
    quota = _text(os.path.join(group, "cpu.cfs_quota_us"))
    period = _text(os.path.join(group, "cpu.cfs_period_us"))
    return _cores(f"{quota} {period}")


def _cores(quota: str) -> int:
    """Return quota per period in whole cores, rounded up; 0 if there is no quota."""
    words = quota.split()
    if len(words) != 2 or not all(word.isdecimal() and int(word) for word in words):
        return 0
    return -(-int(words[0]) // int(words[1]))


def _text(path: str) -> str:
    """Return the text of a small file, or an empty string if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(fd, 4096).decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)
