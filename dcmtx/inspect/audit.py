"""Proves a migrated archive from the report of its conversion."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Generator, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

from dcmtx.errors import DcmtxError, InputError
from dcmtx.inspect.ledger import Ledger
from dcmtx.inspect.proof import Proof, Task, Verdict, prove
from dcmtx.place.kinds import kind_of
from dcmtx.place.places import is_remote
from dcmtx.place.temporary import is_temporary
from dcmtx.record import Record

if TYPE_CHECKING:
    from dcmtx.pool.executor import Executor
    from dcmtx.pool.workers import Pool

PROOF_VERSION = 1


class Question(Record):
    """What to audit: the report of a conversion, and below which directory nothing else may lie.

    `was` is where `root` was when the report was written. `pixels` asks for every frame to be decoded, of a part of the
    files where `sample` is less than 1. `before` is the record of an earlier audit, whose proofs are not repeated.
    `records` are those of the report, if they are in no file; then `report` is only what errors call it.
    """

    report: str
    root: str | None = None
    was: str | None = None
    pixels: bool = False
    before: str | None = None
    sample: float = 1.0
    records: Iterable[dict[str, Any]] | None = None

    def decodes(self, path: str) -> bool:
        """Tell whether the pixels of a destination are asked for. Which are in a sample depends on their names only."""
        if not self.pixels or self.sample >= 1:
            return self.pixels
        place = int.from_bytes(hashlib.sha256(os.fsencode(path)).digest()[:8], "big")
        return place < self.sample * (1 << 64)


def local_pool(workers: int, timeout: float | None = None) -> Pool[Task, Proof]:
    """Return a pool of processes on this machine for proofs."""
    from dcmtx.pool.workers import Pool

    return Pool(prove, workers, timeout=timeout)


def audit(question: Question, executor: Executor[Task, Proof], ledger: Ledger) -> Generator[Proof, None, None]:
    """Yield a proof for each destination of a report, then for each file below `root` that the report does not have.

    Memory does not depend on the length of the report. Raises InputError for a report that cannot be read, or is none.
    """
    read_report(question, ledger)
    if question.before is not None:
        _settle(question, ledger)
    for promise in ledger.open_promises():
        executor.submit(Task(promise, question.decodes(promise.path)))
        yield from _proofs(executor)
    yield from _proofs(executor, wait_for_all=True)
    if question.root is not None:
        yield from _unreported(question.root, ledger)


def _proofs(executor: Executor[Task, Proof], *, wait_for_all: bool = False) -> Iterator[Proof]:
    for task, result in executor.results(wait_for_all=wait_for_all):
        yield _proof_of(task, result).replace(pixels=task.pixels)


def _proof_of(task: Task, result: Proof | DcmtxError) -> Proof:
    """Return the proof, or the verdict on a file whose process ended."""
    if isinstance(result, DcmtxError):
        return Proof(task.promise.path, Verdict.CHANGED, what=result.message)
    return result


# --- the report ------------------------------------------------------------------------------------------------------


def read_report(question: Question, ledger: Ledger) -> None:
    """Put all records of a report into a ledger. Raises InputError, also for a report that has none."""
    from dcmtx.place.tables import read_records

    moved = _mover(question)
    records = question.records
    try:
        for record in read_records(question.report, ledger.tear) if records is None else records:
            if isinstance(record.get("destination"), str):
                _check_place(record["destination"])
                record["destination"] = moved(record["destination"])
            ledger.add(record)
        if records is None and not ledger.records:
            what = "its only line is cut off" if ledger.torn else "there is no record in it"
            raise InputError(f"{what}, so it proves nothing", code="E_REPORT")
    except InputError as error:
        error.path = error.path or question.report
        raise


def _check_place(destination: str) -> None:
    """Raise InputError for a member of an archive: nothing can be said of it, not even that it is missing.

    Raises UnsupportedError for an object, if the library for stores is not installed.
    """
    if is_remote(destination):
        from dcmtx.place.remote import library

        library()
        return
    archive, _, member = destination.partition(": ")
    if member and kind_of(archive) is not None:
        raise InputError(
            f"{destination} is no file, but in an archive",
            advice="unpack it, and compare the directories by `dcmtx compare`",
            code="E_REPORT",
        )


def _mover(question: Question) -> Any:
    """Return what gives the place where a destination is now."""
    if question.was is None or question.root is None:
        return lambda path: path
    old, new = os.path.abspath(question.was), os.path.abspath(question.root)

    def moved(path: str) -> str:
        full = os.path.abspath(path)
        if os.path.commonpath([old, full]) != old:
            raise InputError(f"{full} is not below {old}", advice="name the directory it was in then", code="E_REPORT")
        return os.path.join(new, os.path.relpath(full, old))

    return moved


# --- the directory ---------------------------------------------------------------------------------------------------


def _unreported(root: str, ledger: Ledger) -> Iterator[Proof]:
    """Yield a proof for each file below a directory, or a prefix, that the report has not. Raises InputError."""
    if is_remote(root):
        from dcmtx.place.remote import listing

        yield from (Proof(one.url, Verdict.UNREPORTED) for one in listing(root) if not ledger.knows(one.url))
        return
    for directory, names, files in os.walk(root, onerror=_cannot_read):
        names.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)
            if not is_temporary(name) and not ledger.knows(path):
                yield Proof(os.path.abspath(path), Verdict.UNREPORTED)


def _cannot_read(error: OSError) -> None:
    raise InputError(f"it cannot be read: {error.strerror}", code="E_UNREADABLE", path=error.filename) from error


# --- the audit's own record ------------------------------------------------------------------------------------------


def as_record(proof: Proof) -> dict[str, Any]:
    """Return a proof as a record for JSON."""
    return {
        "version": PROOF_VERSION,
        "path": proof.path,
        "verdict": proof.verdict.name.lower(),
        "what": proof.what or None,
        "pixels": proof.pixels,
        "frames": proof.frames,
    }


def _settle(question: Question, ledger: Ledger) -> None:
    """Mark what an earlier audit proved, about pixels too if they are asked for. A torn last line is passed over."""
    assert question.before is not None
    if not os.path.exists(question.before):
        return
    with open(question.before, encoding="utf-8") as file:
        for record in _records_of(file, question.before):
            holds = Verdict[record["verdict"].upper()].holds
            if holds and (record["pixels"] or not question.decodes(record["path"])):
                ledger.settle(record["path"])


def _records_of(file: IO[str], name: str) -> Iterator[dict[str, Any]]:
    for line in file:
        if not line.endswith("\n"):
            return
        try:
            record = json.loads(line)
            known = record["version"] == PROOF_VERSION and record["verdict"].upper() in Verdict.__members__
        except (ValueError, LookupError, TypeError, AttributeError):
            known = False
        if not known:
            raise InputError("it is no record of an audit", code="E_REPORT", path=name)
        yield record
