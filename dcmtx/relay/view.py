"""What the status page is given of the state of a relay: UIDs and words, and names only where they may be shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from dcmtx.relay.answers import with_said
from dcmtx.relay.config import Http, SpoolConfig
from dcmtx.syntax import BY_UID

# Of a destination; the command line lists all.
MOST_HELD = 100
MOST_REASONS = 5

# Destination and id of what is held: what may be shown of it beside UIDs.
Names = Callable[[str, str], str]


def view(
    state: dict[str, Any], settings: Http, *, spool: SpoolConfig | None = None, names: Names | None = None
) -> dict[str, Any]:
    """Return what the page shows of a state: the first of what is held, with names if the settings allow them.

    `held_count` counts all that are held, `reasons` has the most frequent reasons with their counts, `syntaxes` has the
    names of the transfer syntaxes that occur.
    """
    destinations = {
        name: _destination(name, each, names if settings.show_names else None)
        for name, each in state["destinations"].items()
    }
    known = {uid for each in destinations.values() for uid in each["delivered"] if uid in BY_UID}
    return {
        **{key: value for key, value in state.items() if key not in ("pid", "spool")},
        "destinations": destinations,
        "syntaxes": {uid: BY_UID[uid].label for uid in sorted(known)},
        "receiving": _receives(state, spool),
        "read_only": settings.read_only,
    }


def _destination(name: str, state: dict[str, Any], names: Names | None) -> dict[str, Any]:
    held = [dict(each) for each in state["held"][:MOST_HELD]]
    for each in held:
        said = each.pop("said", "")
        if names is not None:
            each["names"] = names(name, each["id"])
            each["reason"] = with_said(each["reason"], said)
    reasons = Counter(each["reason"] for each in state["held"]).most_common(MOST_REASONS)
    return {**state, "state": word(state), "held": held, "held_count": len(state["held"]), "reasons": reasons}


def word(destination: dict[str, Any]) -> str:
    """Return the state of a destination as people should read it: one that was never called is not known to be up."""
    called = destination["delivered"] or destination["refused"]
    return "idle" if destination["state"] == "up" and not called else str(destination["state"])


def _receives(state: dict[str, Any], spool: SpoolConfig | None) -> bool:
    """Tell whether there is room for what senders send."""
    if spool is None:
        return True
    below = not spool.high_water or state["spool_bytes"] < spool.high_water
    return bool(state["spool_free"] > spool.reserve and below)


def health(state: dict[str, Any], spool: SpoolConfig | None = None) -> dict[str, Any]:
    """Return whether the relay receives, and what a person should look at.

    A destination that is down is no fault of the relay's: it waits, and receives on.
    """
    destinations = state["destinations"]
    troubled = {name: each["state"] for name, each in destinations.items() if each["state"] in ("down", "held")}
    strangers = state["strangers"]
    held = sum(len(each["held"]) for each in destinations.values())
    receiving = _receives(state, spool)
    word = "full" if not receiving else "look" if troubled or held or strangers else "ok"
    return {
        "status": word,
        "receiving": receiving,
        "held": held,
        "queue": sum(each["queue"] for each in destinations.values()),
        "destinations": troubled,
        "strangers": strangers,
    }
