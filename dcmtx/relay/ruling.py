"""What a site's policy says of an instance on its way to a destination.

The rules are those of `dcmtx policy`. A rule's target is what the destination is offered first; what it does not take
goes as without a rule, and `accept` holds still.
"""

from __future__ import annotations

from contextlib import closing

from dcmtx.dataset.meta import peek
from dcmtx.place.bytes import open_bytes
from dcmtx.planning.request import Request, resolve
from dcmtx.planning.site import Action, Rule, SitePolicy
from dcmtx.policy import LOSSLESS
from dcmtx.relay.config import Destination
from dcmtx.relay.values import UnfitError, preferred


def check(policy: SitePolicy) -> None:
    """Raise UnfitError for a rule that a relay cannot follow."""
    for rule in policy.rules:
        if rule.action is Action.CONVERT:
            followed(Destination("-"), rule)
            if not rule.parameters.lossy and rule.parameters.asked():
                raise UnfitError(f"has a rule ({rule.name}) with parameters, which a relay takes for loss only")


def followed(destination: Destination, rule: Rule) -> Destination:
    """Return a destination as a rule that converts or keeps has it. Raises UnfitError for a target that is none."""
    if rule.action is not Action.CONVERT:
        return destination.replace(prefer=(), lossy=None)
    lossy = rule.parameters if rule.parameters.lossy else None
    if rule.to.lower().startswith("smallest"):
        raise UnfitError(f"has a rule ({rule.name}) to {rule.to}, which a relay does not try out; name one")
    return destination.replace(prefer=preferred((rule.to,), lossy), lossy=lossy)


def widest(destination: Destination) -> Destination:
    """Return a destination with all that its rules may want, for which an association is proposed."""
    if destination.policy is None:
        return destination
    ruled = [followed(destination, rule) for rule in destination.policy.rules if rule.action is Action.CONVERT]
    wanted = dict.fromkeys(uid for one in (*ruled, destination) for uid in one.prefer)
    lossy = next((one.lossy for one in (destination, *ruled) if one.lossy is not None), None)
    return destination.replace(prefer=tuple(wanted), lossy=lossy)


def decide(policy: SitePolicy, path: str) -> Rule | None:
    """Return the rule for a file. Raises OSError or DcmtxError if it cannot be read."""
    from dcmtx.transcoding.choosing import facts_of
    from dcmtx.transcoding.source import open_source

    with closing(open_bytes(path)) as file, closing(open_source(file, meta=peek(file))) as opened:
        return policy.decide(facts_of(opened, file.size, Request(resolve("raw", LOSSLESS))))
