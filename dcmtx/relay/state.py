"""What a relay says of itself: the plain dictionary behind `status`, the status page and the metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dcmtx._version import __version__

if TYPE_CHECKING:
    from dcmtx.relay.daemon import Relay


def snapshot(relay: Relay) -> dict[str, Any]:
    """Return the state of a relay: numbers, UIDs and words, which can be written as JSON.

    `destinations` has by name `kind`, `address`, `state` (up, down, held), `queue`, `bytes`, `oldest_seconds`, `held`
    (a list of `id`, `instance`, `reason`, `since`, `bytes` and `said`), `delivered` by syntax, `refused` by status,
    `rate` (instances a second over the last minute), `error` (why it is down) and `retry_seconds` (until it is tried
    again). `received` counts by calling AE title, `declined` what was not accepted, by status. `strangers` are names of
    destinations that the configuration does not have (any more), and for which instances wait in the spool.

    Nothing is of a patient, but for `said`, perhaps: what the destination itself said of an instance.
    """
    counters = relay.counters
    return {
        "version": __version__,
        "pid": relay.pid,
        "uptime_seconds": time.time() - relay.started,
        "listens": relay.address,
        "associations": relay.associations(),
        "spool": relay.spool.path,
        "spool_bytes": relay.spool.bytes,
        "spool_free": relay.spool.free(),
        "received": counters.table("received"),
        "declined": counters.table("declined"),
        "receive_rate": counters.rate("received"),
        "strangers": relay.spool.strangers(),
        "destinations": {name: _destination(relay, name) for name in relay.spool.queues},
    }


def _destination(relay: Relay, name: str) -> dict[str, Any]:
    forwarder = relay.forwarders[name]
    queue = relay.spool.queues[name]
    count, size, oldest = queue.counts()
    state, error, retry = forwarder.health()
    return {
        "kind": forwarder.destination.kind.value,
        "address": forwarder.destination.address,
        "state": "held" if queue.paused else state,
        "error": error,
        "retry_seconds": retry,
        "queue": count,
        "bytes": size,
        "oldest_seconds": max(0.0, time.time() - oldest) if oldest else 0.0,
        "held": [
            {
                "id": held.id,
                "instance": held.instance,
                "reason": held.reason,
                "since": held.since,
                "bytes": held.size,
                "said": held.said,
            }
            for held in queue.held()
        ],
        "delivered": relay.counters.table("delivered", name),
        "refused": relay.counters.table("refused", name),
        "rate": relay.counters.rate("delivered", name),
    }
