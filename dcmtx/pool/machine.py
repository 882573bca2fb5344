"""What this process may use of the machine."""

from __future__ import annotations

import functools
import os

_GROUPS = "/proc/self/cgroup"
_MOUNT = "/sys/fs/cgroup"
_WITHOUT_END = 1 << 30


def available_cores() -> int:
    """Return how many cores this process may use: those it may run on, or fewer where a container has a quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    return min(cores, *_quotas()) if cores > 1 else cores


@functools.cache
def _quotas() -> tuple[int, ...]:
    """Return the quotas of the control groups that this process is in, in whole cores, rounded up, and no end of them.

    That is `cpu.max` in version 2, in a hierarchy of its own without controllers, and `cpu.cfs_quota_us` in version 1.
    Groups further up may have less to give.
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
            # A container may see the path that its group has outside; what is mounted is its own group then.
            parts = [part for part in path.split("/") if part not in ("", "..")]
            for length in range(len(parts) + 1):
                cores = read(os.path.join(mount, *parts[:length]))
                if cores:
                    found.append(cores)
    return tuple(found)


def _version_2(group: str) -> int:
    """Return the quota of a group, or 0 for none: microseconds per microseconds, or `max`."""
    return _cores(_text(os.path.join(group, "cpu.max")))


def _version_1(group: str) -> int:
    """Return the quota of a group, or 0 for none, which is said by -1."""
    quota = _text(os.path.join(group, "cpu.cfs_quota_us"))
    period = _text(os.path.join(group, "cpu.cfs_period_us"))
    return _cores(f"{quota} {period}")


def _cores(quota: str) -> int:
    """Return time per period in whole cores, never less than one; 0 where no quota is said."""
    words = quota.split()
    if len(words) != 2 or not all(word.isdecimal() and int(word) for word in words):
        return 0
    return -(-int(words[0]) // int(words[1]))


def _text(path: str) -> str:
    """Return what a small file says; nothing where there is none."""
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
