"""Which paths are archives, by their names."""

from __future__ import annotations

import os
from enum import Enum


class Kind(Enum):
    """Kinds of archives, and how their names end."""

    ZIP = (".zip",)
    TAR = (".tar",)
    TAR_GZ = (".tar.gz", ".tgz")
    TAR_ZST = (".tar.zst", ".tzst")


def kind_of(path: str) -> Kind | None:
    """Return the kind of archive that a name says, or None."""
    name = path.lower()
    return next((kind for kind in Kind if name.endswith(kind.value)), None)


def bare_name(path: str) -> str:
    """Return the name of an archive without what says its kind."""
    kind = kind_of(path)
    ends = kind.value if kind is not None else ()
    return next((path[: -len(end)] for end in ends if path.lower().endswith(end)), path) or path


def is_archive(path: str) -> bool:
    """Tell whether a path is an archive to read: a regular file whose name says so."""
    return kind_of(path) is not None and os.path.isfile(path)


def is_packed(destination: str) -> bool:
    """Tell whether a destination is an archive to write: its name says so, and it is no directory."""
    return kind_of(destination) is not None and not os.path.isdir(destination) and "://" not in destination
