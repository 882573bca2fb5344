"""Destinations that are made once: whole, only where there is nothing, or the very same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable
from contextlib import closing
from typing import IO, Any, TypeVar

from dcmtx.cluster.folder import is_missing
from dcmtx.errors import DcmtxError, InputError, OutputError
from dcmtx.finding import Finding
from dcmtx.place.atomic import AtomicSink
from dcmtx.place.bytes import Reader
from dcmtx.place.places import is_remote, open_reader
from dcmtx.record import Record

_PIECE = 1 << 20
# How often a store is asked by us, after it was asked many times by its library; seconds before the second time.
_ATTEMPTS, _FIRST_WAIT = 3, 1.0
T = TypeVar("T")


class Opened(Record):
    """A source that is open already, for `place.places` to open; and a destination that is made once."""

    reader: Reader

    def open_reader(self, spool_in: str | None) -> Reader:  # noqa: ARG002 - nothing is spooled
        """Return the reader."""
        return self.reader


class Once(Record):
    """A destination that is made once. What is left to do goes into `later`, if there is such a list.

    `attributes` become metadata of an object; with `later`, what is added to them before that is done counts too.
    """

    place: str
    attributes: dict[str, str]
    later: list[Callable[[], None]] | None = None

    def open_sink(self, *, sync: bool) -> Any:
        """Return its sink."""
        if is_remote(self.place):
            return _remote_sink(self)
        return OnceFile(self.place, sync=sync)


class OnceFile(AtomicSink):
    """Writes a local file. On commit one that is there stays: E_EXISTS, unless it has the same bytes."""

    def __init__(self, path: str, *, sync: bool) -> None:
        super().__init__(path, parents=True, sync=sync)
        self._clobber = False

    def _put_in_place(self) -> None:
        assert self._file is not None
        file = self._file
        try:
            super()._put_in_place()
        except OutputError as error:
            if error.code != "E_EXISTS" or not is_same_as(file, self.path):
                raise
            self.notes.append(made_before())


def made_before() -> Finding:
    """Return the finding of a file that was there, with the same bytes."""
    return Finding("N_DONE_BEFORE", "it was there already, with the same bytes")


def _remote_sink(once: Once) -> Any:
    """Return the sink of an object. The class is made here, for its base is loaded only where there are stores."""
    from dcmtx.place.remote import RemoteSink

    class OnceObject(RemoteSink):
        """Writes an object, at once or later."""

        def _put_in_place(self) -> None:
            assert self._file is not None
            file = os.fdopen(os.dup(self._file.fileno()), "rb")
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()

            def send() -> None:
                with file:
                    put_once(once.place, file, once.attributes | {"dcmtx-sha256": digest})

            if once.later is None:
                send()
            else:
                once.later.append(send)

    return OnceObject(once.place, clobber=True)


def put_once(place: str, file: IO[bytes], attributes: dict[str, str]) -> None:
    """Make an object where there is none.

    Raises OutputError: E_EXISTS if there is another, E_STORE if the store fails.
    """
    from dcmtx.place.remote import put

    def attempt() -> None:
        file.seek(0)
        try:
            put(place, file, clobber=False, attributes=attributes)
        except OutputError as error:
            if error.code != "E_EXISTS":
                raise
            file.seek(0)
            same = is_same_as(file, place)
            if same is None:
                # Two wrote at once, and the store let neither: it is not there.
                raise ConflictError("the store let nobody write it", path=place) from error
            if not same:
                raise

    patiently(attempt)


class ConflictError(OutputError):
    """A store refused to make an object, and it is not there."""


def is_same_as(file: IO[bytes], place: str) -> bool | None:
    """Tell whether a file has the bytes of a place; None if there is nothing there.

    Raises InputError if it cannot be read.
    """
    try:
        reader = open_reader(place)
    except InputError as error:
        if is_missing(error):
            return None
        raise
    with closing(reader):
        if os.fstat(file.fileno()).st_size != reader.size:
            return False
        position = 0
        while position < reader.size:
            piece = bytes(reader.pread(min(_PIECE, reader.size - position), position))
            if not piece or piece != os.pread(file.fileno(), len(piece), position):
                return False
            position += len(piece)
    return True


def patiently(call: Callable[[], T]) -> T:
    """Call something of a store again if the store fails.

    Raises DcmtxError with the code E_STORE if it goes on failing.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return call()
        except DcmtxError as error:
            if not is_of_store(error):
                raise
            if attempt == _ATTEMPTS - 1:
                error.code = "E_STORE"
                raise
        time.sleep(_FIRST_WAIT * 4**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - nothing secret
    raise AssertionError


def is_of_store(error: DcmtxError) -> bool:
    """Tell whether an error is that a store did not do what it could do another time."""
    if isinstance(error, ConflictError):
        return True
    cause = error.__cause__
    passing = error.code in ("E_UNREADABLE", "E_OUTPUT") and error.path is not None and is_remote(error.path)
    return passing and cause is not None and not isinstance(cause, (FileNotFoundError, PermissionError, ValueError))
