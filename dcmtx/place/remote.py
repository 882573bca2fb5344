"""Object stores as places: s3://, gs:// and az://, to read and to write; http:// and https://, to read.

An object is fetched whole, into a file in memory, or on disk where it is large; it must not change meanwhile. An object
that is written appears whole or not at all, and without leave to replace it only where there was none: the store itself
decides that, by a conditional request. A store that ignores the condition is found out before anything is written.

Credentials and endpoints are those of the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT, GOOGLE_APPLICATION_CREDENTIALS,
AZURE_STORAGE_ACCOUNT_NAME, ...), as obstore reads them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from typing import IO, Any
from urllib.parse import urlsplit

from dcmtx.errors import DcmtxError, InputError, OutputError, UnsupportedError, UsageError
from dcmtx.place.bytes import FileBytes, Reader, unreadable
from dcmtx.place.sink import BUFFER, BufferedSink, Data
from dcmtx.record import Record

# Larger objects go through a file on disk.
_IN_MEMORY = 64 << 20
_PIECE = 8 << 20
_RETRIES, _RETRY_SECONDS = 8, 180
_TIMEOUT, _CONNECT_TIMEOUT = "300s", "10s"


class Object(Record):
    """One object of a listing: its URL, what follows the prefix in its key, size in bytes, and ETag."""

    url: str
    below: str
    size: int
    etag: str

    def open_reader(self, spool_in: str | None) -> Reader:
        """Fetch the object as it was listed. Raises InputError, E_CHANGED if it is another one now."""
        return open_remote(self.url, spool_in, etag=self.etag or None)


def library() -> Any:
    """Return obstore. Raises UnsupportedError where it is not installed."""
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise UnsupportedError(
            "object stores need the package obstore", advice="pip install 'dcmtx[store]'", code="E_BACKEND"
        ) from error
    return obstore


@cache
def _store(root: str, _process: int) -> Any:
    """Return the store of a URL without its key; one for each process, since it has threads."""
    from datetime import timedelta

    # An endpoint without TLS is one that somebody has named.
    options: dict[str, Any] = {"timeout": _TIMEOUT, "connect_timeout": _CONNECT_TIMEOUT, "allow_http": True}
    retry = {
        "max_retries": _RETRIES,
        "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=15), "base": 2},
    }
    return library().store.from_url(root, client_options=options, retry_config=retry)


def located(url: str) -> tuple[Any, str]:
    """Return the store of a URL, and the key in it. Raises UsageError for a URL without one, or that is none."""
    parts = urlsplit(url)
    if not parts.netloc:
        raise UsageError(f"{url} names no {'host' if parts.scheme.startswith('http') else 'bucket'}", path=url)
    try:
        store = _store(f"{parts.scheme.lower()}://{parts.netloc}", os.getpid())
    except DcmtxError:
        raise
    except Exception as error:
        raise UsageError(f"{url} cannot be reached: {_first_line(error)}", path=url) from error
    # In a URL of a store nothing is escaped: `#` and `?` may be in keys.
    key = url.partition("://")[2].partition("/")[2]
    return store, key


def _first_line(error: BaseException) -> str:
    """Return what an error of obstore's says, without its source in Rust."""
    return " ".join(str(error).split("\n\nDebug source", 1)[0].split())[:300]


# --- reading -------------------------------------------------------------------------------------------------------


class _RemoteBytes(FileBytes):
    """A fetched object as a Reader. A process that has fetched has threads, and is not forked."""

    __slots__ = ()

    forks = False


def open_remote(url: str, spool_in: str | None = None, *, etag: str | None = None) -> Reader:
    """Fetch an object and return a reader of it; with `etag`, only if it is still the one with that ETag.

    Raises InputError if it is missing, has changed (E_CHANGED) or cannot be read.
    """
    obs = library()
    store, key = located(url)
    if not key or key.endswith("/"):
        raise InputError("it is a prefix, not an object", code="E_DIR", path=url)
    try:
        result = obs.get(store, key, options={"if_match": etag} if etag else None)
        fd = scratch(result.meta["size"], spool_in)
        try:
            size = _fetch(result, fd)
        except BaseException:
            os.close(fd)
            raise
    except FileNotFoundError as error:
        raise InputError("there is no such object", code="E_UNREADABLE", path=url) from error
    except obs.exceptions.PreconditionError as error:
        raise InputError("it has changed since it was listed", code="E_CHANGED", path=url) from error
    except (obs.exceptions.BaseError, PermissionError, ValueError) as error:
        raise InputError(f"it cannot be read: {_first_line(error)}", code="E_UNREADABLE", path=url) from error
    except OSError as error:
        raise unreadable(error) from error
    if size != result.meta["size"]:
        os.close(fd)
        raise InputError(f"{size} of its {result.meta['size']} bytes came", code="E_TRUNCATED", path=url)
    return _RemoteBytes(fd, size)


def _fetch(result: Any, fd: int) -> int:
    size = 0
    for piece in result.stream(min_chunk_size=_PIECE):
        view = memoryview(piece)
        while view:
            written = os.write(fd, view)
            size, view = size + written, view[written:]
    return size


def scratch(size: int, directory: str | None) -> int:
    """Return the descriptor of a file without a name: in memory, or in a directory if `size` bytes are many."""
    if size <= _IN_MEMORY and hasattr(os, "memfd_create"):
        return os.memfd_create("dcmtx", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        return os.dup(file.fileno())


# --- listing -------------------------------------------------------------------------------------------------------


def is_prefix(url: str) -> bool:
    """Tell whether a URL names what is below it, not one object: it ends in `/`, or only things below it exist."""
    obs = library()
    store, key = located(url)
    if not key or key.endswith("/"):
        return True
    with contextlib.suppress(Exception):
        obs.head(store, key)
        return False
    with contextlib.suppress(Exception):
        return any(batch for batch in obs.list(store, f"{key}/", chunk_size=1))
    return False


def listing(url: str) -> Iterator[Object]:
    """Yield the objects below a prefix, in the order of the store. Raises InputError if it cannot be listed."""
    obs = library()
    store, key = located(url)
    prefix = f"{key.strip('/')}/" if key.strip("/") else ""
    root = url[: len(url) - len(key)] if key else f"{url.rstrip('/')}/"
    try:
        for batch in obs.list(store, prefix or None):
            for found in batch:
                path = found["path"]
                yield Object(root + path, path[len(prefix) :], found["size"], etag=found["e_tag"] or "")
    except FileNotFoundError:
        return
    except (obs.exceptions.BaseError, PermissionError, ValueError) as error:
        raise InputError(f"it cannot be listed: {_first_line(error)}", code="E_UNREADABLE", path=url) from error


def joined(url: str, below: str) -> str:
    """Return the URL of what lies below a prefix."""
    return f"{url.rstrip('/')}/{below}"


# --- writing -------------------------------------------------------------------------------------------------------


class RemoteSink(BufferedSink):
    """Writes an object. It is sent when it is complete, and is there whole or not at all.

    Without `clobber` the store is asked to make it only where there is none: E_EXISTS. `attributes` become the object's
    metadata. Raises OutputError if it cannot be written, or if the store ignores such conditions.
    """

    def __init__(self, url: str, *, clobber: bool = True, attributes: Mapping[str, str] | None = None) -> None:
        super().__init__(url)
        self._store, self._key = located(url)
        self._clobber = clobber
        self._in_memory = True
        self._attributes = dict(attributes or {})
        if not self._key or self._key.endswith("/"):
            raise OutputError("the destination is a prefix, not an object", path=url)
        if not clobber:
            check_conditions(url)
        try:
            self._file: IO[bytes] | None = os.fdopen(scratch(0, None), "w+b", buffering=BUFFER)
        except OSError as error:
            raise self._failed(error) from error

    def write(self, data: Data) -> None:
        """Append bytes."""
        self.reserve(len(data))
        super().write(data)

    def copy(self, source: Reader) -> None:
        """Append a whole file, byte for byte."""
        self.reserve(source.size)
        super().copy(source)

    def reserve(self, length: int) -> None:
        """Announce `length` more bytes: what becomes large goes on on disk. Raises OutputError if that has no room."""
        size = self.bytes + length
        if size <= _IN_MEMORY or not self._in_memory:
            return
        assert self._file is not None
        self._in_memory = False
        try:
            with self._file as small:
                self._file = os.fdopen(scratch(size, None), "w+b", buffering=BUFFER)
                small.seek(0)
                shutil.copyfileobj(small, self._file)
        except OSError as error:
            raise self._failed(error) from error

    def _put_in_place(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        put(self.path, self._file, clobber=self._clobber, attributes=self._attributes)


def open_remote_sink(url: str, *, clobber: bool, parents: bool) -> RemoteSink:  # noqa: ARG001 - stores have none
    """Return the sink of an object. Raises OutputError."""
    return RemoteSink(url, clobber=clobber)


def put(url: str, data: Any, *, clobber: bool, attributes: Mapping[str, str] | None = None) -> None:
    """Make an object of bytes or a file object. Raises OutputError: E_EXISTS if it is there and may not be replaced."""
    obs = library()
    store, key = located(url)
    named = {_attribute_name(url, name): value for name, value in (attributes or {}).items()}
    try:
        obs.put(store, key, data, mode="overwrite" if clobber else "create", attributes=named or None)
    except (obs.exceptions.AlreadyExistsError, obs.exceptions.PreconditionError, FileExistsError) as error:
        raise OutputError("it exists, and may not be replaced", code="E_EXISTS", path=url) from error
    except (obs.exceptions.BaseError, OSError, ValueError) as error:
        raise OutputError(f"it cannot be written: {_first_line(error)}", path=url) from error


def _attribute_name(url: str, name: str) -> str:
    """Return the name of a metadata entry in a store: those of Azure are identifiers, without hyphens."""
    return name.replace("-", "_") if url.lower().startswith("az:") else name


@cache
def _conditions(root: str, process: int) -> bool:
    """Tell whether a store refuses to make an object twice, by trying."""
    obs = library()
    store, key = _store(root, process), f".dcmtx-probe-{os.urandom(8).hex()}"
    try:
        obs.put(store, key, b"1", mode="create")
        try:
            obs.put(store, key, b"2", mode="create")
        except (obs.exceptions.AlreadyExistsError, obs.exceptions.PreconditionError, FileExistsError):
            return True
        return False
    finally:
        with contextlib.suppress(Exception):
            obs.delete(store, key)


def check_conditions(url: str) -> None:
    """Raise OutputError, E_STORE, for a store that ignores conditions: two writers would both think they were first."""
    parts = urlsplit(url)
    obs = library()
    try:
        heeded = _conditions(f"{parts.scheme.lower()}://{parts.netloc}", os.getpid())
    except (obs.exceptions.BaseError, OSError, ValueError) as error:
        raise OutputError(f"the store cannot be written: {_first_line(error)}", path=url) from error
    if not heeded:
        raise OutputError(
            "the store ignores the condition that an object must not exist", advice="leave out --no-clobber",
            code="E_STORE", path=url,
        )  # fmt: skip
