"""Opens places by kind, for reading and for writing.

A place is a local path, `-` for standard input or output, or `scheme://...`. The library also takes bytes and binary
file objects. A new kind of place needs a row in SCHEMES and a module.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Protocol

from dcmtx.errors import UsageError
from dcmtx.place import atomic
from dcmtx.place.atomic import AtomicSink, is_special
from dcmtx.place.bytes import Reader, open_bytes
from dcmtx.place.sink import write_error
from dcmtx.place.temporary import remove_stale, temporary_name
from dcmtx.record import Record

if TYPE_CHECKING:
    from dcmtx.place.sink import Sink


class Readable(Protocol):
    """A binary file object that can be read."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer at the end."""


class Writable(Protocol):
    """A binary file object that can be written."""

    def write(self, data: bytes, /) -> object:
        """Write bytes; return how many, or None for all of them."""


# What the library accepts as a file to read, and as one to write.
SourcePlace = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable
TargetPlace = str | os.PathLike[str] | Writable


class Scheme(Record):
    """How places of one scheme are opened: functions as `module:name`, or empty if that is not supported.

    `reader` is called like `open_reader`, with place and spool directory; `sink` like `open_sink`, with place,
    `clobber` and `parents`. A `store` has prefixes too, which are like directories.
    """

    reader: str = ""
    sink: str = ""
    store: bool = False


# Keys: the word before `://`, in lower case.
_STORE = Scheme("dcmtx.place.remote:open_remote", "dcmtx.place.remote:open_remote_sink", store=True)
_WEB = Scheme("dcmtx.place.remote:open_remote")
SCHEMES: dict[str, Scheme] = {"s3": _STORE, "gs": _STORE, "az": _STORE, "http": _WEB, "https": _WEB}


def scheme_of(place: str) -> str:
    """Return the scheme of a place, in lower case; empty for local paths and `-`.

    Where no known scheme matches, a path that exists, or whose directory exists, is local.

    Raises UsageError for an unknown scheme.
    """
    if "://" not in place:
        return ""
    name = place.partition("://")[0].lower()
    # RFC 3986 3.1.
    if not name[:1].isalpha() or not name.isascii() or not name.translate(_IN_SCHEMES).isalnum():
        return ""
    if name in SCHEMES:
        return name
    if os.path.lexists(place) or os.path.isdir(os.path.dirname(place)):
        return ""
    known = ", ".join(["local paths", "-", *(f"{known}://" for known in sorted(SCHEMES))])
    raise UsageError(f"there is no kind of place {name}://; known are {known}", path=place)


_IN_SCHEMES = str.maketrans(dict.fromkeys("+-.", "a"))


def is_remote(place: str) -> bool:
    """Tell whether a place is in a store, which has prefixes, by its scheme."""
    scheme, found, _ = place.partition("://")
    known = SCHEMES.get(scheme.lower()) if found else None
    return known is not None and known.store


def open_reader(place: object, spool_in: str | None = None) -> Reader:
    """Open a place for reading at offsets. A source that cannot seek is first spooled in the directory `spool_in`.

    `place` is a path, `-`, bytes or another buffer, or a binary file object, which is read from its position on.

    Raises UsageError for anything else, InputError if it is missing or cannot be read.
    """
    if isinstance(place, str):
        scheme = scheme_of(place)
        if not scheme:
            return open_bytes(place, spool_in)
        reader: Reader = _loaded(SCHEMES[scheme].reader, scheme, "read")(place, spool_in)
        return reader
    # A place that opens itself, in whatever process: a member of an archive.
    opener = getattr(place, "open_reader", None)
    if opener is not None:
        opened: Reader = opener(spool_in)
        return opened
    from dcmtx.place.memory import open_object

    return open_object(place, spool_in)


def open_sink(place: object, path: str = "", *, clobber: bool = True, parents: bool = False, sync: bool = True) -> Sink:
    """Open a place for writing: a path, `-`, a binary file object or an InMemory. Messages call it `path`.

    `clobber` says whether an existing file may be replaced, `parents` whether missing directories are made, `sync`
    whether a local file must outlast a crash of the machine.

    Raises UsageError for anything else, OutputError if it cannot be written.
    """
    if isinstance(place, str):
        scheme = scheme_of(place)
        if scheme:
            sink: Sink = _loaded(SCHEMES[scheme].sink, scheme, "written")(place, clobber=clobber, parents=parents)
            return sink
        if place != "-" and not is_special(place):
            return AtomicSink(place, clobber=clobber, parents=parents, sync=sync)
        from dcmtx.place.stream import StreamSink

        return StreamSink(place)
    # A place that opens itself.
    opener = getattr(place, "open_sink", None)
    if opener is not None:
        opened: Sink = opener(sync=sync)
        return opened
    from dcmtx.place import stream

    return stream.open_sink(place, path)


def _loaded(name: str, scheme: str, verb: str) -> Any:
    """Import and return the function of a scheme."""
    if not name:
        raise UsageError(f"places of {scheme}:// cannot be {verb}")
    import importlib

    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def path_of(place: SourcePlace | TargetPlace | None) -> str | None:
    """Return the name of a place: a path as text, `-`, or `scheme://...`; None for bytes and file objects.

    Raises UsageError for an unknown scheme.
    """
    if not isinstance(place, str):
        if not isinstance(place, os.PathLike):
            return None
        place = os.fsdecode(place)
    scheme_of(place)
    return place


def name_of(place: object) -> str:
    """Return the name that messages use for a place without a path."""
    if not hasattr(place, "read") and not hasattr(place, "write"):
        return "<bytes>"
    name = getattr(place, "name", None)
    return name if isinstance(name, str) and name else "<file object>"


def check_free(place: object, *, clobber: bool) -> None:
    """Raise OutputError if a local file exists that must not be replaced, or if its links form a loop."""
    if isinstance(place, str) and not scheme_of(place):
        atomic.check_free(place, clobber=clobber)


def check_writable(place: object, *, clobber: bool, parents: bool) -> None:
    """Raise the OutputError that writing a local file would begin with, as far as that can be told without writing.

    `parents` says whether missing directories would be made.
    """
    check_free(place, clobber=clobber)
    if not isinstance(place, str) or place == "-" or scheme_of(place):
        return
    directory = os.path.dirname(os.path.realpath(place))
    while parents and not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    number = 0
    if not os.path.isdir(directory):
        number = errno.ENOTDIR if os.path.lexists(directory) else errno.ENOENT
    elif not os.access(directory, os.W_OK | os.X_OK) and not is_special(place):
        number = errno.EACCES
    if number:
        raise write_error(place, OSError(number, os.strerror(number)))


def remove_left(place: object) -> None:
    """Remove what a process that died has left of a local file."""
    if isinstance(place, str) and place != "-" and not scheme_of(place):
        directory, name = os.path.split(os.path.realpath(place))
        remove_stale(os.path.join(directory, temporary_name(name)))


def is_same(one: object, other: object) -> bool:
    """Tell whether two places are paths to the same file."""
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def directory_of(place: object) -> str | None:
    """Return the directory of a local destination if it is writable. Spools go there, since it needs room anyway."""
    if not isinstance(place, str) or place == "-" or "\0" in place or scheme_of(place):
        return None
    # A link that stays is written through.
    directory = os.path.dirname(os.path.realpath(place) if os.path.islink(place) else place) or os.curdir
    return directory if os.path.isdir(directory) and os.access(directory, os.W_OK) else None
