"""The status of a relay as lines for people."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from dcmtx.relay.answers import with_said
from dcmtx.relay.view import word
from dcmtx.syntax import BY_UID

_UNITS = (("d", 86400), ("h", 3600), ("min", 60))
_WORDS = {
    "up": "up",
    "down": "DOWN",
    "held": "HELD: nothing is sent until `dcmtx relay retry`",
    "idle": "not called yet",
}


def status_lines(state: dict[str, Any]) -> Iterator[str]:
    """Yield the lines: the relay, what it received, and for every destination what waits and what is held."""
    received = sum(state["received"].values())
    yield f"dcmtx {state['version']}, process {state['pid']}, listens at {state['listens']}"
    yield (
        f"up for {_age(state['uptime_seconds'])}; {state['associations']} associations; received {received}"
        f"{_counts(state['received'])}; spool {_size(state['spool_bytes'])}, {_size(state['spool_free'])} free"
    )
    if state["declined"]:
        yield f"not accepted, by status:{_counts(state['declined'])}"
    for name in state["strangers"]:
        yield f"instances wait for {name}, which is no destination of this relay; they stay until it is one"
    for name, each in state["destinations"].items():
        yield ""
        yield from _destination(name, each)


def _destination(name: str, state: dict[str, Any]) -> Iterator[str]:
    yield f"{name} ({state['kind']}, {state['address']}): {_WORDS[word(state)]}"
    if state["error"]:
        soon = f"; next try in {_age(state['retry_seconds'])}" if state["retry_seconds"] else ""
        yield f"  {state['error']}{soon}"
    oldest = f", the oldest for {_age(state['oldest_seconds'])}" if state["queue"] else ""
    yield f"  waiting: {state['queue']} ({_size(state['bytes'])}){oldest}; sending {state['rate']:g} a second"
    named = {BY_UID[uid].label if uid in BY_UID else uid: count for uid, count in state["delivered"].items()}
    yield f"  delivered: {sum(named.values())}{_counts(named)}"
    if state["refused"]:
        yield f"  not taken, by status:{_counts(state['refused'])}"
    if state["held"]:
        yield f"  held: {len(state['held'])}"
    for each in state["held"]:
        since = _age(max(0.0, time.time() - each["since"]))
        yield f"    {each['id']} {each['instance'] or '-'}, for {since}: {with_said(each['reason'], each['said'])}"


def _counts(table: dict[str, int]) -> str:
    """Return what is counted, the most first, in parentheses; nothing if there is nothing."""
    found = sorted(table.items(), key=lambda entry: (-entry[1], entry[0]))
    return f" ({', '.join(f'{name} {count}' for name, count in found)})" if found else ""


def _age(seconds: float) -> str:
    for number, (unit, size) in enumerate(_UNITS):
        if seconds >= size:
            rest, small = (_UNITS[number + 1][1], _UNITS[number + 1][0]) if number + 1 < len(_UNITS) else (1, "s")
            over = int(seconds % size // rest)
            return f"{int(seconds // size)} {unit}" + (f" {over} {small}" if over else "")
    return f"{int(seconds)} s"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
