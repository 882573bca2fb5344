"""What a file is besides its bytes: who owns it, who may read it, and whether it is on the disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

from dcmtx.finding import Finding, Severity

_ACCESS_LIST = "system.posix_acl_access"
_OWNER, _GROUP, _LIST = "owner", "group", "access control list"
# Of the bytes that were replaced, not of the file: hashes that the kernel keeps, and rights to run them.
_OF_CONTENT = {"security.ima", "security.evm", "security.capability"}
# What a file system says that cannot sync a directory, or need not.
_NEEDS_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


# --- on the disk -----------------------------------------------------------------------------------------------


def sync_file(fd: int) -> None:
    """Return when the bytes of an open file are on the disk. Raises OSError."""
    # Where there is this call, fsync stops at the cache of the drive (macOS). Not every file system has it.
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, full)
            return
    os.fsync(fd)


def sync_directory(path: str) -> list[Finding]:
    """Have the names in a directory on the disk; return a note if that is not certain.

    It is no error: what was put there is in place, for everybody but a machine that loses its power now.
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
        why = error.strerror or str(error)
        return [
            Finding(
                "N_NOT_SYNCED",
                f"the destination is in place, but its directory cannot be synced ({why}); it may not outlast a crash",
                Severity.WARNING,
            )
        ]
    return []


def make_directories(path: str) -> list[Finding]:
    """Make a directory, and those above it, where they are missing, for good; return notes. Raises OSError."""
    missing = []
    while path and not os.path.exists(path):
        missing.append(path)
        path = os.path.dirname(path)
    notes = []
    for directory in reversed(missing):
        try:
            os.mkdir(directory)
        except FileExistsError:
            # Somebody else was quicker.
            if not os.path.isdir(directory):
                raise
            continue
        notes += sync_directory(os.path.dirname(directory))
    return notes


# --- who may do what -------------------------------------------------------------------------------------------


def keep_rights(old: str, fd: int) -> list[Finding]:
    """Give an open file, which nobody else may read yet, what the file has that it replaces, if there is one.

    That is owner, group, mode, access control list and extended attributes. Returns a note of what the system does not
    let be kept. The file is at no time readable for anybody whom the old one was not: the rights of a group that could
    not be kept are those of others.

    Raises OSError where not even the mode can be set.
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
        # Under a list, these bits are the most that it grants to anybody, not what the group may.
        both = mode & (mode & stat.S_IRWXO) << 3
        mode = mode & ~(stat.S_ISGID | stat.S_IRWXG) | both
    # Last, for a change of the owner and an access control list change the mode too.
    os.fchmod(fd, mode)
    if not lost:
        return []
    named = lost[0] if len(lost) == 1 else f"{', '.join(lost[:-1])} and {lost[-1]}"
    return [Finding("N_RIGHTS", f"the {named} of the file that was replaced could not be kept", Severity.WARNING)]


def _keep_owner(was: os.stat_result, fd: int) -> list[str]:
    """Set owner and group, or the group alone; return which could not be."""
    now = os.fstat(fd)
    if (was.st_uid, was.st_gid) == (now.st_uid, now.st_gid):
        return []
    with contextlib.suppress(OSError):
        os.fchown(fd, was.st_uid, was.st_gid)
        return []
    # Whoever is in the group may give a file to it, and only root to another owner.
    with contextlib.suppress(OSError):
        os.fchown(fd, -1, was.st_gid)
    now = os.fstat(fd)
    return [_OWNER] * (was.st_uid != now.st_uid) + [_GROUP] * (was.st_gid != now.st_gid)


def _keep_attributes(old: str, fd: int, *, with_list: bool) -> list[str]:
    """Set extended attributes, of which an access control list is one; return what could not be."""
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
        # The directory gave it one of its own, and the mode that is set next would let that work.
        os.removexattr(fd, _ACCESS_LIST)
    return lost if acl is None else [*lost, _LIST]


def _attributes(file: str | int) -> dict[str, bytes]:
    """Return the extended attributes that can be read; none where neither Python nor the file system has them."""
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
