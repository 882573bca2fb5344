"""The queue of one destination: a directory of links, oldest first, and beside it what is held for a person."""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import threading
import time
from typing import TYPE_CHECKING

from dcmtx.record import Record
from dcmtx.relay.durable import DurableDirectory
from dcmtx.relay.entry import Entry, received_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dcmtx.relay.spool import Spool

SUFFIX = ".dcm"
_REASON = ".json"
_PAUSED = "paused"


class Held(Record):
    """An instance that is held: its id, why, and since when (seconds since 1970); what its destination said itself."""

    id: str
    reason: str
    since: float
    instance: str = ""
    size: int = 0
    said: str = ""


class Queue:
    """What waits for one destination. Its state is in the directories; what is in memory is an index of it.

    All methods may be called from any thread.
    """

    def __init__(self, spool: Spool, name: str) -> None:
        self.name = name
        self._spool = spool
        self._directory = spool.make_directory("queue", name)
        self._aside = spool.make_directory("held", name)
        self._changed = threading.Condition()
        # Ids: all that may be taken, in order; those of them that are still there; those to be taken later.
        self._order: list[str] = []
        self._there: set[str] = set()
        self._later: list[tuple[float, str]] = []
        self._kept: dict[str, Entry] = {}
        self._taken: dict[str, Entry] = {}
        self._held: dict[str, Held] = {}
        self._bytes = 0
        self._stopped = False
        self._load()
        self.durable = DurableDirectory(self._directory)

    def _load(self) -> None:
        for identifier, size in _listed(self._directory):
            self._there.add(identifier)
            self._order.append(identifier)
            self._bytes += size
            self._spool.register(identifier, self.name, size)
        heapq.heapify(self._order)
        for identifier, size in _listed(self._aside):
            self._held[identifier] = self._read_reason(identifier, size)
            self._spool.register(identifier, self.name, size)
        self.paused = os.path.exists(os.path.join(self._aside, _PAUSED))

    def close(self) -> None:
        """Close the directory."""
        self.durable.close()

    def path_of(self, identifier: str) -> str:
        """Return the path of an entry's file."""
        return os.path.join(self._directory, identifier + SUFFIX)

    # --- what comes in

    def link(self, path: str, identifier: str) -> None:
        """Make a received file an entry. It is not one before `sync` has returned and `add` was called."""
        os.link(path, self.path_of(identifier))

    def unlink(self, identifier: str) -> None:
        """Take a link back."""
        with contextlib.suppress(OSError):
            os.unlink(self.path_of(identifier))

    def sync(self) -> None:
        """Have the links outlast a crash of the machine."""
        self.durable.sync()

    def add(self, identifier: str, size: int) -> None:
        """Let an entry be taken."""
        with self._changed:
            self._there.add(identifier)
            self._bytes += size
            heapq.heappush(self._order, identifier)
            self._changed.notify()

    # --- what goes out

    def take(self, timeout: float | None = 0.0) -> Entry | None:
        """Take the oldest entry that is due; wait for one up to `timeout` seconds, None means no limit."""
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                entry = self._next()
                if entry is not None or self._stopped:
                    return entry
                now = time.monotonic()
                limits = [] if until is None else [until - now]
                if self._later and not self.paused:
                    limits.append(self._later[0][0] - now)
                if until is not None and now >= until:
                    return None
                self._changed.wait(max(0.0, min(limits)) if limits else None)

    def stop(self) -> None:
        """Let nothing be taken any more; every `take` returns None at once."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _next(self) -> Entry | None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            heapq.heappush(self._order, heapq.heappop(self._later)[1])
        if self.paused or self._stopped:
            return None
        while self._order:
            identifier = heapq.heappop(self._order)
            if identifier in self._there and identifier not in self._taken:
                entry = self._kept.pop(identifier, None) or Entry(self, identifier)
                self._taken[identifier] = entry
                return entry
        return None

    def upcoming(self, count: int) -> list[Entry]:
        """Return entries that will be taken next, about `count`, without taking them."""
        with self._changed:
            return [
                self._kept.setdefault(identifier, Entry(self, identifier))
                for identifier in self._order[:count]
                if identifier in self._there and identifier not in self._taken
            ]

    def put_back(self, entry: Entry, due: float) -> None:
        """Put an entry back that was taken, to be taken again when `time.monotonic()` is `due`."""
        with self._changed:
            if self._taken.pop(entry.id, None) is None:
                return
            self._kept[entry.id] = entry
            if due:
                heapq.heappush(self._later, (due, entry.id))
            else:
                heapq.heappush(self._order, entry.id)
            self._changed.notify()

    def remove(self, entry: Entry) -> None:
        """Remove an entry: it was delivered or dropped."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(entry.path)
        self._forget(entry.id)
        self._spool.forget(entry.id, self.name)

    def _forget(self, identifier: str) -> None:
        with self._changed:
            self._taken.pop(identifier, None)
            self._kept.pop(identifier, None)
            if identifier in self._there:
                self._there.remove(identifier)
                self._bytes -= self._spool.size_of(identifier)

    def know(self, identifier: str, instance: str) -> None:
        """Note the SOP Instance UID of an entry that was there before this relay started."""
        self._spool.know(identifier, instance)

    # --- what is held

    def hold(self, entry: Entry, reason: str, said: str = "") -> None:
        """Put an entry aside with the reason, durably."""
        held = Held(
            entry.id, reason, time.time(), instance=self._instance(entry), size=self._spool.size_of(entry.id), said=said
        )  # fmt: skip
        # A full disk has no room for the reason, and must not keep the instance in the way of others.
        with contextlib.suppress(OSError):
            self._write_reason(held)
        os.rename(entry.path, self._aside_path(entry.id))
        self._forget(entry.id)
        with self._changed:
            self._held[entry.id] = held

    @staticmethod
    def _instance(entry: Entry) -> str:
        try:
            return entry.head.instance
        except Exception:  # noqa: BLE001 - it may be held because its file cannot be read
            return ""

    def _aside_path(self, identifier: str) -> str:
        return os.path.join(self._aside, identifier + SUFFIX)

    def _reason(self, identifier: str) -> str:
        return os.path.join(self._aside, identifier + _REASON)

    def _write_reason(self, held: Held) -> None:
        path = self._reason(held.id)
        with open(path + ".part", "w", encoding="utf-8") as file:
            known = {"reason": held.reason, "since": held.since, "instance": held.instance, "said": held.said}
            json.dump(known, file)
        os.replace(path + ".part", path)

    def _read_reason(self, identifier: str, size: int) -> Held:
        try:
            with open(self._reason(identifier), encoding="utf-8") as file:
                known = json.load(file)
            reason, since = str(known["reason"]), float(known["since"])
            return Held(identifier, reason, since, instance=known["instance"], size=size, said=known["said"])
        except (OSError, ValueError, KeyError, TypeError):
            return Held(identifier, "the reason was lost", received_at(identifier), size=size)

    def held(self) -> list[Held]:
        """Return what is held, oldest first."""
        with self._changed:
            return [self._held[identifier] for identifier in sorted(self._held)]

    def held_path(self, identifier: str) -> str | None:
        """Return the path of a held file, or None if there is none of this id."""
        with self._changed:
            return self._aside_path(identifier) if identifier in self._held else None

    def retry(self, identifier: str | None = None) -> int:
        """Put what is held back into the queue, one or all; return how many."""
        done = 0
        for held in self.held():
            if identifier in (None, held.id):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(self._aside_path(held.id), self.path_of(held.id))
                    self._release(held)
                    self.add(held.id, held.size)
                    done += 1
        with self._changed:
            # What waits for another try is tried now too.
            if identifier is None:
                self._later = [(0.0, waiting) for _, waiting in self._later]
            self._changed.notify_all()
        return done

    def drop(self, identifier: str) -> int:
        """Remove what is held under this id, or what waits; return how many were removed: 1 or 0."""
        with self._changed:
            held = self._held.get(identifier)
            waits = identifier in self._there and identifier not in self._taken
        if held is not None:
            os.unlink(self._aside_path(identifier))
            self._release(held)
        elif waits:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path_of(identifier))
            self._forget(identifier)
        else:
            return 0
        self._spool.forget(identifier, self.name)
        return 1

    def _release(self, held: Held) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._reason(held.id))
        with self._changed:
            self._held.pop(held.id, None)

    def pause(self, *, paused: bool) -> None:
        """Send nothing more, or go on. A restart keeps to it."""
        mark = os.path.join(self._aside, _PAUSED)
        if paused:
            with open(mark, "w", encoding="ascii"):
                pass
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(mark)
        with self._changed:
            self.paused = paused
            self._changed.notify_all()

    # --- figures

    def counts(self) -> tuple[int, int, float]:
        """Return how many entries there are, their bytes, and when the oldest was received (0 if there is none)."""
        with self._changed:
            return len(self._there), self._bytes, received_at(min(self._there)) if self._there else 0.0

    def __len__(self) -> int:
        """Return how many entries there are, taken ones too."""
        return len(self._there)


def has_some(directory: str) -> bool:
    """Tell whether there is an instance in a directory, if it is one."""
    try:
        return next(_listed(directory), None) is not None
    except OSError:
        return False


def _listed(directory: str) -> Iterator[tuple[str, int]]:
    """Yield id and size of every file of a directory that is an instance."""
    with os.scandir(directory) as found:
        for item in found:
            identifier, suffix = os.path.splitext(item.name)
            if suffix == SUFFIX and identifier.isdecimal():
                yield identifier, item.stat().st_size
