"""Jobs that wrap codestreams anew, without decoding any."""

from __future__ import annotations

from typing import Any

from dcmtx.errors import RefusedError, UsageError
from dcmtx.options import OPTIONS
from dcmtx.planning.request import Target, Way
from dcmtx.rules.relabel import RELABELS
from dcmtx.syntax import BY_UID, find, find_family
from dcmtx.transcoding.job import Job, job

_SAME = Target("same", ())


def rewrap_job(
    src: str, dst: str, *, relabel: str | None = None, fragment_size: int | None = None, **options: Any
) -> Job:
    """Return the job that wraps the codestreams of `src` anew in `dst`; `relabel` names another transfer syntax.

    `options` are those of `transcode` that are not about coding. Raises UsageError for a name that is none, and
    RefusedError for a syntax whose codestreams no other has.
    """
    # Checked against any target with fragments; the real one is known when the file is open.
    base = job(src, dst, to="encapsulated", **options)
    target = _SAME if relabel is None else _named(relabel)
    # Only the source knows whether its frames may have several fragments.
    policy = base.request.policy.replace(fragment_size=OPTIONS["fragment_size"].checked(fragment_size))
    return base.replace(request=base.request.replace(target=target, policy=policy, way=Way.REWRAP))


def _named(name: str) -> Target:
    family = find_family(name)
    syntax = BY_UID[family.lossless] if family is not None else find(name)
    if syntax is None:
        raise UsageError(f"there is no transfer syntax {name!r}", advice="`dcmtx syntaxes` lists them")
    if all(new != syntax.uid for _, new in RELABELS):
        raise RefusedError(
            f"codestreams of no other syntax may be called {syntax.label}",
            advice=f"use `dcmtx convert --to {syntax.label}`",
            code="E_RELABEL",
        )
    return Target(name, (syntax,))
