"""The SOP Instance UID of a derived instance (PS3.5 B.2)."""

from __future__ import annotations

from dcmtx._version import __version__
from dcmtx.policy import EncodingParameters
from dcmtx.syntax import Syntax

_NAMESPACE = "b5a9bb0a-3d0f-5e65-9a3b-52d3a3c8a4d1"


def named_uid(namespace: str, *words: str) -> str:
    """Return the UID that these words make in a namespace, a UUID, always the same (PS3.5 B.2; RFC 4122 4.3)."""
    import uuid

    return f"2.25.{uuid.uuid5(uuid.UUID(namespace), ' '.join(words)).int}"


def derived_uid(old: str, target: Syntax, quality: EncodingParameters, *others: str) -> str:
    """Return the SOP Instance UID of an instance made from `old`: 2.25 and a UUID of everything that decides it.

    `others` are the deciding inputs besides the encoding parameters and the version of dcmtx: the backends with the
    versions of their libraries, and the policy for unused bits.

    So the same conversion of the same instance always gives the same UID (PS3.5 B.2; RFC 4122 4.3).
    """
    parameters = ",".join(f"{name}={value}" for name, value in quality.items() if value is not None)
    return named_uid(_NAMESPACE, old, target.uid, parameters, __version__, *others)


def part_uid(old: str, part: str, *others: str) -> str:
    """Return the UID of a part of an instance, or of the series of such parts: `part` says in words what is kept.

    `others` are further inputs that decide the pixels, where decoding or encoding is not exact.
    """
    return named_uid(_NAMESPACE, "part", old, part, *others)
