"""A directory of this process's own for what is unpacked, and what killed processes left of theirs."""

from __future__ import annotations

import contextlib
import fcntl
import os

from dcmtx.place.temporary import is_at

_SCRATCH = ".dcmtx-"
_RANDOM = 8


def is_scratch(name: str) -> bool:
    """Tell whether this is the name of a Scratch, of this process or of another one."""
    return name.startswith(_SCRATCH) and len(name) == len(_SCRATCH) + _RANDOM and "." not in name[1:]


class Scratch:
    """A directory for what is unpacked, made when it is needed, in `directory` if that can be; `close` removes it.

    It is locked while its process lives. Those beside it whose processes were killed are removed.
    """

    def __init__(self, directory: str | None) -> None:
        self._directory = directory
        self._made = ""
        self._lock = -1

    @property
    def path(self) -> str:
        """The directory."""
        if not self._made:
            import tempfile

            self._made, self._lock = _locked(tempfile.mkdtemp(prefix=_SCRATCH, dir=self._directory))
            while not self._made:
                # Another process took it for one that was left behind, before it was locked.
                self._made, self._lock = _locked(tempfile.mkdtemp(prefix=_SCRATCH, dir=self._directory))
            _sweep_scratches(os.path.dirname(self._made))
        return self._made

    def close(self) -> None:
        """Remove the directory and what is in it."""
        if self._made:
            import shutil

            shutil.rmtree(self._made, ignore_errors=True)
            os.close(self._lock)
            self._made = ""


def _locked(path: str) -> tuple[str, int]:
    """Lock a directory; return its path, empty if it is gone, and the descriptor of the lock."""
    try:
        lock = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        return "", -1
    # Without locks in the file system, it looks like one that was left behind.
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX)
    if is_at(lock, path):
        return path, lock
    os.close(lock)
    return "", -1


def _sweep_scratches(directory: str) -> None:
    """Remove the scratches in a directory whose processes are gone."""
    import shutil

    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if not is_scratch(entry.name) or not entry.is_dir(follow_symlinks=False):
                continue
            try:
                lock = os.open(entry.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            except OSError:
                # Another user's.
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry.path, ignore_errors=True)
            except OSError:
                continue
            finally:
                os.close(lock)
