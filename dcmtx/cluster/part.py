"""Converts files of a shard, one after another, in this process, which a codec may end.

Objects are fetched ahead and sent behind, by threads: a store answers late, not slowly.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing

from dcmtx.cluster.entry import Entry
from dcmtx.cluster.once import Once, Opened, patiently
from dcmtx.dataset.meta import PASSED_OVER, SOP_CLASS, peek
from dcmtx.errors import DcmtxError, InputError
from dcmtx.place.archive import refused_name
from dcmtx.place.bytes import Reader
from dcmtx.place.places import is_remote
from dcmtx.record import Record
from dcmtx.rules.objects import MEDIA_STORAGE_DIRECTORY
from dcmtx.transcoding.form import job_from_json
from dcmtx.transcoding.job import Job, Outcome
from dcmtx.transcoding.running import run

# Files that are fetched before their turn, and how many bytes they may have together; files that are being sent.
_AHEAD, _AHEAD_BYTES, _BEHIND = 6, 64 << 20, 4
# Errors that only mean a skip, as of files that a batch finds in a directory.
# Errors that all files after this one would have: the shard is left for another time.
STOPPING = ("E_STORE", "E_DISK_FULL")


class Told(Record):
    """What became of a file: an outcome, an error, or why it is skipped."""

    result: Outcome | DcmtxError | None = None
    skip: str = ""


class Order(Record):
    """What a part is to do: files by their numbers in the shard, and their job, whose `dst` is the destination."""

    job: Job
    files: Sequence[tuple[int, Entry]]

    def to_line(self) -> bytes:
        """Return the order as a line of JSON."""
        files = [[number, list(dict(entry.items()).values())] for number, entry in self.files]
        return json.dumps({"job": self.job.to_json(), "files": files}).encode() + b"\n"


def order_from(line: bytes) -> Order:
    """Return the order of a line."""
    form = json.loads(line)
    names = Entry._fields
    files = [(number, Entry(**dict(zip(names, values, strict=True)))) for number, values in form["files"]]
    return Order(job_from_json(form["job"]), files)


def destination_of(job: Job, entry: Entry) -> str:
    """Return where a file goes. Raises InputError, E_NAME, for one whose name leads out of the destination."""
    if refused_name(entry.key) is not None:
        raise InputError("its name leads out of the destination; it is not converted", code="E_NAME")
    return os.path.join(job.dst, entry.key)


def convert(order: Order) -> Iterator[tuple[int, Told]]:
    """Convert the files of a part, and yield what became of each, by its number, when it is in place.

    Raises DcmtxError with a code of STOPPING where it is useless to go on; what is in place stays.
    """
    if is_remote(order.job.dst) or any(is_remote(entry.source) for _, entry in order.files):
        with ThreadPoolExecutor(_AHEAD + _BEHIND) as threads:
            yield from _convert(order, threads)
    else:
        yield from _convert(order, None)


def _convert(order: Order, threads: ThreadPoolExecutor | None) -> Iterator[tuple[int, Told]]:
    sent: dict[Future[None], tuple[int, Told]] = {}
    with closing(_Fetched(order.files, threads)) as fetched:
        for number, entry in order.files:
            later: list[Callable[[], None]] = []
            told = _one(order.job, entry, fetched.take, later)
            if later and threads is not None:
                sent[threads.submit(later[0])] = (number, told)
            else:
                yield number, _checked(told)
            if sent:
                yield from _arrived(sent, _BEHIND)
        while sent:
            yield from _arrived(sent, 0)


def _arrived(sent: dict[Future[None], tuple[int, Told]], most: int) -> Iterator[tuple[int, Told]]:
    """Yield what has been sent, and wait until at most so many are under way."""
    done = [future for future in sent if future.done()]
    if not done and len(sent) > most:
        done = list(wait(sent, return_when=FIRST_COMPLETED).done)
    for future in done:
        number, told = sent.pop(future)
        error = future.exception()
        if error is not None and not isinstance(error, DcmtxError):
            raise error
        yield number, told if error is None else _checked(Told(error))


def _checked(told: Told) -> Told:
    if isinstance(told.result, DcmtxError) and told.result.code in STOPPING:
        raise told.result
    return told


class _Fetched:
    """Readers of files in their order; objects are fetched ahead."""

    def __init__(self, files: Sequence[tuple[int, Entry]], threads: ThreadPoolExecutor | None) -> None:
        self._files = deque(entry for _, entry in files if is_remote(entry.source) and refused_name(entry.key) is None)
        self._threads = threads
        self._ahead: deque[tuple[Entry, Future[Reader]]] = deque()

    def take(self, entry: Entry) -> Reader:
        """Return the reader of the next file."""
        if self._threads is None or not is_remote(entry.source):
            return entry.open()
        self._fill()
        found, future = self._ahead.popleft()
        assert found is entry
        return future.result()

    def _fill(self) -> None:
        assert self._threads is not None
        size = sum(entry.size or 0 for entry, _ in self._ahead)
        while self._files and len(self._ahead) < _AHEAD:
            entry = self._files[0]
            size += entry.size or 0
            if self._ahead and size > _AHEAD_BYTES:
                return
            self._files.popleft()
            self._ahead.append((entry, self._threads.submit(patiently, entry.open)))

    def close(self) -> None:
        """Close what nobody took."""
        for _, future in self._ahead:
            if not future.cancel():
                _close(future)


def _close(future: Future[Reader]) -> None:
    if future.exception() is None:
        future.result().close()


def _one(job: Job, entry: Entry, take: Callable[[Entry], Reader], later: list[Callable[[], None]]) -> Told:
    """Convert a file, and put it in place, or put into `later` what does so."""
    try:
        place = destination_of(job, entry)
        reader = take(entry)
        try:
            if peek(reader).text(SOP_CLASS) == MEDIA_STORAGE_DIRECTORY:
                reader.close()
                return Told(skip="a DICOMDIR, which would not be valid any more; make a new one")
        except BaseException:
            reader.close()
            raise
        attributes = {"dcmtx-source-etag": entry.etag} if entry.etag else {}
        target = Once(place, attributes, later)
        # From here on the reader is the job's, which closes it.
        outcome = run(job.replace(src=entry.source, dst=place, source=Opened(reader), target=target))
        if outcome.digest_out:
            attributes["dcmtx-pixels-sha256"] = outcome.digest_out
        return Told(outcome)
    except DcmtxError as error:
        if error.code in PASSED_OVER:
            return Told(skip=PASSED_OVER[error.code])
        error.path = error.path or entry.source
        return Told(error)
