"""File metadata and durability: owner, permissions, attributes, and syncing to disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from functools import cache
from typing import TYPE_CHECKING

from dcmtx.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

_ACCESS_LIST = "system.posix_acl_access"
_OWNER, _GROUP, _LIST = "owner", "group", "access control list"
# These belong to the old content, not to the file: hashes that the kernel keeps, and capabilities to run it.
_OF_CONTENT = {"security.ima", "security.evm", "security.capability"}
# Errors of a file system that cannot sync a directory, or does not need to.
_NEEDS_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


# --- on the disk -----------------------------------------------------------------------------------------------


def sync_file(fd: int) -> None:
    """Sync the bytes of an open file to disk. Raises OSError."""
    # On macOS, fsync stops at the drive's cache, and this call does not. Not every file system supports it.
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, full)
            return
    os.fsync(fd)


# What `sync_file_range` is told: begin to write, wait for nothing (linux/fs.h).
_RANGE_WRITE = 2


def begin_sync(fd: int, start: int, length: int) -> None:
    """Have the system begin to write these bytes of an open file to disk, so that `sync_file` finds less to do.

    Nothing is promised, and no error told: `sync_file` does both. Where the system cannot, nothing happens.
    """
    begin = _sync_file_range()
    if begin is not None:
        begin(fd, start, length, _RANGE_WRITE)


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Return the system's function, None where there is none: Python does not have it."""
    if sys.platform != "linux":
        return None
    import ctypes

    try:
        function = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


def sync_directory(path: str) -> list[Finding]:
    """Sync the names in a directory to disk; return a note if that fails.

    Failure is no error: the file is in place, and only a crash of the machine could undo that.
    """
    try:
        directory = os.open(path or os.curdir, os.O_RDONLY)
        try:
            sync_file(directory)
        finally:
            os.close(directory)
    except OSError as error:
        if error.errno in _NEEDS_NO_SYNC:
            return []
        return [not_synced(error.strerror or str(error))]
    return []


def not_synced(why: str) -> Finding:
    """Return the note for a destination whose directory was not synced."""
    return Finding(
        "N_NOT_SYNCED",
        f"the destination is in place, but its directory cannot be synced ({why}); it may not outlast a crash",
        Severity.WARNING,
    )


def make_directories(path: str, *, sync: bool = True) -> list[Finding]:
    """Create a directory and its missing parents, and sync them; return notes. Raises OSError."""
    missing = []
    while path and not os.path.exists(path):
        missing.append(path)
        path = os.path.dirname(path)
    notes = []
    for directory in reversed(missing):
        try:
            os.mkdir(directory)
        except FileExistsError:
            # Another process created it first.
            if not os.path.isdir(directory):
                raise
            continue
        if sync:
            notes += sync_directory(os.path.dirname(directory))
    return notes


# --- who may do what -------------------------------------------------------------------------------------------


def keep_rights(old: str, fd: int) -> list[Finding]:
    """Copy the metadata of the file that is replaced, if there is one, to an open file that nobody else may read yet.

    That is owner, group, mode, access control list and extended attributes. Returns a note on what could not be kept.
    At no time can a user read the file who could not read the old one: if the group or the list cannot be kept, the
    group gets at most the permissions of others.

    Raises OSError if even the mode cannot be set.
    """
    try:
        was = os.stat(old)
    except FileNotFoundError:
        return []
    lost = _keep_owner(was, fd)
    mode = stat.S_IMODE(was.st_mode)
    if _OWNER in lost:
        mode &= ~stat.S_ISUID
    lost += _keep_attributes(old, fd, with_list=_GROUP not in lost)
    if _GROUP in lost or _LIST in lost:
        # With an access control list, these bits are its mask, not the permissions of the group.
        both = mode & (mode & stat.S_IRWXO) << 3
        mode = mode & ~(stat.S_ISGID | stat.S_IRWXG) | both
    # Last, because changing the owner or the access control list also changes the mode.
    os.fchmod(fd, mode)
    if not lost:
        return []
    named = lost[0] if len(lost) == 1 else f"{', '.join(lost[:-1])} and {lost[-1]}"
    return [Finding("N_RIGHTS", f"the {named} of the file that was replaced could not be kept", Severity.WARNING)]


def _keep_owner(was: os.stat_result, fd: int) -> list[str]:
    """Set owner and group, or the group alone; return which of them could not be set."""
    now = os.fstat(fd)
    if (was.st_uid, was.st_gid) == (now.st_uid, now.st_gid):
        return []
    with contextlib.suppress(OSError):
        os.fchown(fd, was.st_uid, was.st_gid)
        return []
    # A member of the group may set it; only root may change the owner.
    with contextlib.suppress(OSError):
        os.fchown(fd, -1, was.st_gid)
    now = os.fstat(fd)
    return [_OWNER] * (was.st_uid != now.st_uid) + [_GROUP] * (was.st_gid != now.st_gid)


def _keep_attributes(old: str, fd: int, *, with_list: bool) -> list[str]:
    """Set extended attributes, including the access control list; return which could not be set."""
    there, has = _attributes(old), _attributes(fd)
    acl = there.pop(_ACCESS_LIST, None)
    lost = [
        f"attribute {name}"
        for name, value in sorted(there.items())
        if name not in _OF_CONTENT and has.get(name) != value and not _set(fd, name, value)
    ]
    if acl is not None and with_list and _set(fd, _ACCESS_LIST, acl):
        return lost
    if _ACCESS_LIST in has:
        # A default list inherited from the directory; the mode that is set next would activate it.
        os.removexattr(fd, _ACCESS_LIST)
    return lost if acl is None else [*lost, _LIST]


def _attributes(file: str | int) -> dict[str, bytes]:
    """Return the readable extended attributes; none if Python or the file system does not support them."""
    found = {}
    if hasattr(os, "listxattr"):
        with contextlib.suppress(OSError):
            for name in os.listxattr(file):
                with contextlib.suppress(OSError):
                    found[name] = os.getxattr(file, name)
    return found


def _set(fd: int, name: str, value: bytes) -> bool:
    try:
        os.setxattr(fd, name, value)
    except OSError:
        return False
    return True
