"""What is counted, and its text for Prometheus."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import Any

_RATE_SECONDS = 60


class Counters:
    """Counts by name and labels. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._counts: dict[tuple[str, ...], Counter[str]] = {}
        self._sums: dict[tuple[str, ...], tuple[int, float]] = {}
        # Per second of the last minute: how many.
        self._recent: dict[tuple[str, ...], deque[list[int]]] = {}

    def count(self, name: str, *labels: str) -> None:
        """Count one: `labels` are a destination, if it is about one, and what the table is by."""
        key = (name, *labels[:-1])
        second = int(time.monotonic())
        with self._guard:
            self._counts.setdefault(key, Counter())[labels[-1]] += 1
            recent = self._recent.setdefault(key, deque(maxlen=_RATE_SECONDS))
            if recent and recent[-1][0] == second:
                recent[-1][1] += 1
            else:
                recent.append([second, 1])

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Add a duration."""
        with self._guard:
            count, total = self._sums.get((name, *labels), (0, 0.0))
            self._sums[(name, *labels)] = (count + 1, total + seconds)

    def table(self, name: str, *labels: str) -> dict[str, int]:
        """Return the counts of a name by their last label."""
        with self._guard:
            return dict(self._counts.get((name, *labels), {}))

    def rate(self, name: str, *labels: str) -> float:
        """Return how many a second there were in the last minute."""
        since = int(time.monotonic()) - _RATE_SECONDS
        with self._guard:
            recent = self._recent.get((name, *labels), ())
            return round(sum(count for second, count in recent if second > since) / _RATE_SECONDS, 3)

    def durations(self) -> dict[tuple[str, ...], tuple[int, float]]:
        """Return number and sum in seconds of what was observed, by name and labels."""
        with self._guard:
            return dict(self._sums)


def exposition(state: dict[str, Any], durations: dict[tuple[str, ...], tuple[int, float]]) -> bytes:
    """Return the state of a relay in Prometheus' text format; `durations` as Counters has them."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(state, durations))
    return bytes(generate_latest(registry))


class _Collector:
    """What prometheus_client asks once: the metrics of a state."""

    def __init__(self, state: dict[str, Any], durations: dict[tuple[str, ...], tuple[int, float]]) -> None:
        self._state = state
        self._durations = durations

    def describe(self) -> list[Any]:
        """Return nothing: names need not be known before."""
        return []

    def collect(self) -> list[Any]:
        """Return the metrics."""
        state, destinations = self._state, self._state["destinations"]
        families = [
            _counter("received", "Instances received and acknowledged.", "calling", state["received"]),
            _counter("declined", "Instances not accepted from senders.", "status", state["declined"]),
            _gauge("associations", "Associations of senders that are open.", state["associations"]),
            _gauge("spool_bytes", "Bytes in the spool that wait or are held.", state["spool_bytes"]),
            _gauge("spool_free_bytes", "Free bytes on the disk of the spool.", state["spool_free"]),
            _by_destination("queue", "Instances that wait.", destinations, lambda each: each["queue"]),
            _by_destination("held", "Instances that are held.", destinations, lambda each: len(each["held"])),
            _by_destination(
                "oldest_seconds", "Age of the oldest that waits.", destinations, lambda each: each["oldest_seconds"]
            ),
            _by_destination(
                "up", "Whether the destination takes instances.", destinations, lambda each: int(each["state"] == "up")
            ),
            _of_destinations("delivered", "Instances delivered.", "syntax", destinations),
            _of_destinations("refused", "Instances not taken.", "status", destinations),
        ]
        return families + _summaries(self._durations)


_PREFIX = "dcmtx_relay_"


def _counter(name: str, text: str, label: str, table: dict[str, int]) -> Any:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(_PREFIX + name, text, labels=[label])
    for value, count in sorted(table.items()):
        family.add_metric([value], count)
    return family


def _of_destinations(name: str, text: str, label: str, destinations: dict[str, Any]) -> Any:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(_PREFIX + name, text, labels=["destination", label])
    for destination, state in sorted(destinations.items()):
        for value, count in sorted(state[name].items()):
            family.add_metric([destination, value], count)
    return family


def _gauge(name: str, text: str, value: float) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(_PREFIX + name, text, value=value)


def _by_destination(name: str, text: str, destinations: dict[str, Any], of: Any) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(_PREFIX + name, text, labels=["destination"])
    for destination, state in sorted(destinations.items()):
        family.add_metric([destination], of(state))
    return family


_DURATIONS = {
    "store_seconds": "Seconds from the request to store to its answer, of senders.",
    "send_seconds": "Seconds to send an instance and have its answer.",
    "transcode_seconds": "Seconds to transcode an instance.",
}


def _summaries(durations: dict[tuple[str, ...], tuple[int, float]]) -> list[Any]:
    from prometheus_client.core import SummaryMetricFamily

    families = []
    for name, text in _DURATIONS.items():
        found = {key[1:]: value for key, value in durations.items() if key[0] == name}
        labels = ["destination"] if any(found) else []
        family = SummaryMetricFamily(_PREFIX + name, text, labels=labels)
        for key, (count, total) in sorted(found.items()):
            family.add_metric(list(key), count_value=count, sum_value=total)
        if found or not labels:
            families.append(family)
    return families
