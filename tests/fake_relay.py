"""A relay that relays nothing: a state to be shown, and a list of what was asked of it."""

from __future__ import annotations

import copy
from typing import Any

NOW = 1_800_000_000.0


def destination(**more: Any) -> dict[str, Any]:
    """Return the state of a destination that is up and idle, but for what is said."""
    return {
        "kind": "dimse", "address": "ARCHIVE@10.0.0.5:104", "state": "up", "error": "", "retry_seconds": 0.0,
        "queue": 0, "bytes": 0, "oldest_seconds": 0.0, "held": [], "delivered": {}, "refused": {}, "rate": 0.0, **more,
    }  # fmt: skip


def held(identifier: int, reason: str = "status C000, cannot understand", **more: Any) -> dict[str, Any]:
    """Return the state of a held instance."""
    return {"id": f"{identifier:020d}", "instance": f"1.2.826.0.1.3680043.2.1125.{identifier}", "reason": reason,
            "said": "", "since": NOW - 7200, "bytes": 526_000, **more}  # fmt: skip


def state(**destinations: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a relay with these destinations."""
    return {
        "version": "0.1.0", "pid": 1, "uptime_seconds": 275_000.0, "listens": "0.0.0.0:11112", "associations": 3,
        "spool": "/var/spool/dcmtx", "spool_bytes": 812_000_000, "spool_free": 91_000_000_000,
        "received": {"CT1": 48211, "MR2": 9120}, "declined": {}, "receive_rate": 4.2, "strangers": [],
        "destinations": destinations,
    }  # fmt: skip


class FakeRelay:
    """Answers from a state, notes what it is asked, and does it to the state."""

    def __init__(self, **destinations: dict[str, Any]) -> None:
        self.now = state(**destinations)
        self.asked: list[tuple[str, ...]] = []

    def state(self) -> dict[str, Any]:
        """Return a copy of the state."""
        return copy.deepcopy(self.now)

    def hold(self, name: str) -> int:
        """Note it, and pause."""
        self.asked.append(("hold", name))
        self.now["destinations"][name]["state"] = "held"
        return self.now["destinations"][name]["queue"]

    def retry(self, name: str, identifier: str | None = None) -> int:
        """Note it, and put what is held back."""
        self.asked.append(("retry", name, identifier or "all"))
        return self._take(name, identifier)

    def drop(self, name: str, identifier: str) -> int:
        """Note it, and forget the instance."""
        self.asked.append(("drop", name, identifier))
        return self._take(name, identifier)

    def _take(self, name: str, identifier: str | None) -> int:
        there = self.now["destinations"][name]["held"]
        gone = [each for each in there if identifier in (None, each["id"])]
        self.now["destinations"][name]["held"] = [each for each in there if each not in gone]
        return len(gone)


def busy() -> FakeRelay:
    """Return a relay with one destination of each state."""
    import time

    since = time.time()
    archive = destination(
        queue=37, bytes=19_400_000, oldest_seconds=9.0, rate=3.7,
        delivered={"1.2.840.10008.1.2.4.80": 48123, "1.2.840.10008.1.2.1": 312}, refused={"A700": 3},
    )  # fmt: skip
    research = destination(
        kind="directory", address="/srv/research/incoming", delivered={"1.2.840.10008.1.2.4.201": 9120},
        held=[held(1, "it cannot be written: No space left on device", since=since - 95, bytes=210_000_000)],
    )  # fmt: skip
    cloud = destination(
        kind="stow", address="https://pacs.example.org/dicom-web", state="down", error="connection refused",
        retry_seconds=41.0, queue=1204, bytes=640_000_000, oldest_seconds=5400.0,
        held=[held(2, since=since - 86400 * 2), held(3, "no context for CT Image Storage: it takes only Implicit VR "
              "Little Endian, and the image exists with loss only", since=since - 40)],
        refused={"C000": 9, "0122": 1}, delivered={"1.2.840.10008.1.2.4.201": 44},
    )  # fmt: skip
    return FakeRelay(archive=archive, cloud=cloud, research=research)
