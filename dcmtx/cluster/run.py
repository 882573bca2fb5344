"""A run: its plan, the one job of all its shards, and the reports of those that are done.

    RUN/plan/000042.jsonl      the files of a shard, one on each line
    RUN/plan/COMPLETE          how many shards, files and bytes; written last
    RUN/job.json               what is asked for, and by which versions; written by whoever comes first
    RUN/done/000042.jsonl.gz   one record for each file of the shard; written last, once

Nothing else is remembered anywhere: a run goes on where these files say that it is not done.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

from dcmtx import __version__
from dcmtx.cluster.entry import Entry, entry_from
from dcmtx.cluster.folder import Folder
from dcmtx.errors import InputError, UsageError
from dcmtx.record import Record
from dcmtx.transcoding.form import job_from_json
from dcmtx.transcoding.job import Job

PLAN_VERSION = JOB_VERSION = 1
COMPLETE = "plan/COMPLETE"
_JOB = "job.json"
_DIGITS = re.compile(r"(\d+)(\.jsonl(\.gz)?)?\Z")
# Whose versions decide about the bytes that are written.
CODECS = (
    "imagecodecs",
    "isal",
    "numpy",
    "ojph",
    "pyjpegls",
    "pylibjpeg-libjpeg",
    "pylibjpeg-openjpeg",
    "pylibjpeg-rle",
)


class Plan(Record):
    """What is planned: where it is from, how many shards, files, and bytes, as far as they are known.

    `giants` are the shards of one large file each.
    """

    source: str
    shards: int
    files: int
    bytes: int
    giants: tuple[int, ...] = ()


def plan_name(number: int) -> str:
    """Return the name of the plan of a shard."""
    return f"plan/{number:06}.jsonl"


def done_name(number: int) -> str:
    """Return the name of the report of a shard."""
    return f"done/{number:06}.jsonl.gz"


def shard_number(text: str) -> int:
    """Return the number of a shard from what a scheduler calls it. Raises UsageError.

    >>> shard_number("42"), shard_number("plan/000042.jsonl")
    (42, 42)
    """
    match = _DIGITS.match(text.rpartition("/")[2])
    if match is None:
        raise UsageError(f"{text} is no number of a shard", advice="they begin with 0")
    return int(match[1])


class Run:
    """A run, by its place. Raises InputError, E_RUN, if it is no directory, or has no complete plan."""

    def __init__(self, place: str) -> None:
        self.folder = Folder(place)
        self.place = place
        self.folder.check()
        data = self.folder.read(COMPLETE)
        if data is None:
            raise InputError(
                "it has no complete plan", advice="make one by dcmtx plan SRC RUN", code="E_RUN", path=place
            )
        form = self._json(data, COMPLETE, PLAN_VERSION)
        try:
            self.plan = Plan(**form | {"giants": tuple(form["giants"])})
        except (TypeError, KeyError) as error:
            raise InputError(f"{COMPLETE} of it is no plan: {error}", code="E_RUN", path=place) from error

    def _json(self, data: bytes, name: str, version: int) -> dict[str, Any]:
        try:
            form = json.loads(data)
            found = form.pop("version")
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise InputError(f"{name} of it is none of dcmtx's", code="E_RUN", path=self.place) from error
        if found != version:
            raise InputError(
                f"{name} of it is of version {found}; this is a dcmtx that reads version {version}",
                code="E_RUN", path=self.place,
            )  # fmt: skip
        result: dict[str, Any] = form
        return result

    def entries(self, number: int) -> list[Entry]:
        """Return the files of a shard. Raises UsageError if the plan has no such shard."""
        if number >= self.plan.shards:
            raise UsageError(f"there is no shard {number}: the run has {self.plan.shards}, from 0 on", path=self.place)
        data = self.folder.read(plan_name(number))
        if data is None:
            raise InputError(
                "a part of the plan is missing", code="E_RUN", path=self.folder.place_of(plan_name(number))
            )
        return [entry_from(line, self.folder.place_of(plan_name(number))) for line in data.splitlines()]

    # --- its job -----------------------------------------------------------------------------------------------

    def settled(self, job: Job | None) -> Job:
        """Return the job of all shards, whose `dst` is the destination; without one given, that which is settled.

        The first that comes settles it. Raises UsageError for another job than that, or by other versions.
        """
        data = self.folder.read(_JOB)
        if data is None:
            if job is None:
                raise UsageError(
                    "nothing is asked of the run yet", advice="name --out DST and a target, such as --to jpegls",
                    path=self.place,
                )  # fmt: skip
            form = {"version": JOB_VERSION, "versions": versions(), "job": json.loads(job.to_json())}
            if self.folder.create(_JOB, json.dumps(form).encode() + b"\n"):
                return job
            data = self.folder.read(_JOB) or b""
        form = self._json(data, _JOB, JOB_VERSION)
        settled = job_from_json(json.dumps(form["job"]))
        self._check_versions(form["versions"])
        if job is not None and (differ := _differences(job, settled)):
            raise UsageError(
                f"the run was begun with other options: {', '.join(differ)}", advice="name another RUN", code="E_RUN",
                path=self.place,
            )  # fmt: skip
        return settled

    def _check_versions(self, theirs: dict[str, str]) -> None:
        ours = versions()
        differ = [
            f"{name} {theirs.get(name, 'none')}, here {ours.get(name, 'none')}"
            for name in sorted(theirs.keys() | ours.keys())
            if theirs.get(name) != ours.get(name)
        ]
        if differ:
            raise UsageError(
                f"the run was begun by other versions: {'; '.join(differ)}",
                advice="install the same everywhere, or name another RUN", code="E_VERSION", path=self.place,
            )  # fmt: skip

    # --- what is done ------------------------------------------------------------------------------------------

    def rows(self, number: int) -> Iterator[dict[str, Any]] | None:
        """Return the records of a shard that is done, or None. Raises InputError for a damaged report."""
        data = self.folder.read(done_name(number))
        if data is None:
            return None
        try:
            return iter([json.loads(line) for line in gzip.decompress(data).splitlines()])
        except (OSError, EOFError, ValueError) as error:
            where = self.folder.place_of(done_name(number))
            raise InputError(f"the report is damaged: {error}", code="E_RUN", path=where) from error

    def finish(self, number: int, rows: list[dict[str, Any]]) -> bool:
        """Write the report of a shard; return False, and write nothing, if somebody else was first."""
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        return self.folder.create(done_name(number), gzip.compress(text.encode(), 6, mtime=0))

    def done(self) -> bytearray:
        """Return a byte for each shard: 1 if it is done. A byte, for there may be millions."""
        found = bytearray(self.plan.shards)
        for name in self.folder.names("done"):
            match = _DIGITS.match(name)
            if match and name.endswith(".jsonl.gz") and int(match[1]) < len(found):
                found[int(match[1])] = 1
        return found


def versions() -> dict[str, str]:
    """Return the versions of dcmtx and of the codecs here, of those that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"dcmtx": __version__}
    for name in CODECS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


# What depends on the machine or the moment, not on what is asked for.
_OF_THE_MOMENT = {"workers", "memory", "src", "created"}


def _differences(one: Job, other: Job) -> list[str]:
    """Return what two jobs ask for differently, as `name A, not B`."""
    ours, theirs = (dict(_flat(json.loads(job.to_json()), "")) for job in (one, other))
    return [
        f"{name} {theirs.get(name)}, not {ours.get(name)}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name) and name not in _OF_THE_MOMENT
    ]


def _flat(form: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(form, dict):
        for key, value in form.items():
            yield from _flat(value, key)
    else:
        yield name, form
