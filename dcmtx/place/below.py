"""What lies below a local directory, for those who look at all of it: nothing that cannot be read is passed over."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from dcmtx.errors import InputError
from dcmtx.place.bytes import unreadable
from dcmtx.place.temporary import is_temporary
from dcmtx.record import Record


class Below(Record):
    """One thing below a directory: a file to read, unless `skip` says why it is none, or `fault` why it cannot be."""

    path: str
    skip: str = ""
    fault: InputError | None = None


def walk_below(directory: str, avoided: str | None = None) -> Iterator[Below]:
    """Yield what is below a directory, sorted by directory, without temporary files.

    Links to files are followed, links to directories are not. A directory that cannot be listed is a fault, and so is
    a link that leads nowhere. What is at the real path `avoided` is left out.
    """
    errors: list[OSError] = []

    def wanted(path: str) -> bool:
        return avoided is None or os.path.realpath(path) != avoided

    for folder, folders, names in os.walk(directory, onerror=errors.append):
        folders[:] = sorted(name for name in folders if wanted(os.path.join(folder, name)))
        # Links to directories are among the directories, and are not entered.
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted([*names, *links]):
            path = os.path.join(folder, name)
            if not is_temporary(name) and wanted(path):
                yield _looked_at(path)
    # Errors come when a directory is entered, between those that can be listed.
    yield from (_unlisted(error) for error in errors)


def _unlisted(error: OSError) -> Below:
    path = os.fsdecode(error.filename)
    fault = InputError(f"the directory cannot be read: {error.strerror}", code="E_UNREADABLE", path=path)
    return Below(path, fault=fault)


def _looked_at(path: str) -> Below:
    try:
        return Below(path, skip=special(os.stat(path)))
    except FileNotFoundError:
        return Below(path, fault=InputError("there is no such file", code="E_MISSING", path=path))
    except OSError as error:
        fault = unreadable(error)
        fault.path = path
        return Below(path, fault=fault)


def special(status: os.stat_result) -> str:
    """Return why this is not a regular file, or an empty string."""
    if stat.S_ISDIR(status.st_mode):
        return "a link to a directory"
    return "" if stat.S_ISREG(status.st_mode) else "not a regular file"
