"""Converts a Job to JSON, for other programs and other machines, and back.

The form is an object with `version` and the fields of the records by name. A choice is its word, a transfer syntax its
UID. Absent fields have their defaults; unknown fields are refused. Only a job whose places have names has a form.
"""

from __future__ import annotations

import json
import types
import typing
from enum import Enum
from typing import Any, NoReturn

from dcmtx.errors import UsageError
from dcmtx.planning.request import Way, assumed, check_backends, check_device, check_policy, resolve
from dcmtx.record import Record
from dcmtx.syntax import BY_UID, Syntax
from dcmtx.transcoding.job import Job

VERSION = 1
# Places that exist only in one process.
_WITHOUT_NAME = frozenset(["source", "target"])


def job_to_json(job: Job) -> str:
    """Return a job as JSON on one line. Raises UsageError for one whose places have no name."""
    if job.source is not None or job.target is not None:
        raise UsageError("a job with bytes or a file object for a place has no JSON form", advice="name files")
    fields = {name: _plain(value) for name, value in job.items() if name not in _WITHOUT_NAME}
    return json.dumps({"version": VERSION} | fields)


def job_from_json(text: str | bytes) -> Job:
    """Return the job that `Job.to_json` wrote.

    Raises UsageError for JSON that is not a job, has another version, or has invalid options; RefusedError for a lossy
    parameter without consent.

    >>> import dcmtx
    >>> planned = dcmtx.transcode("ct-explicit.dcm", "out.dcm", to="jpegls", dry_run=True)
    >>> dcmtx.job_from_json(planned.job.to_json()) == planned.job
    True
    """
    try:
        form = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the job is not JSON: {error}") from None
    if not isinstance(form, dict):
        _refuse("job", "an object", form)
    version = form.pop("version", None)
    if version != VERSION or isinstance(version, bool):
        raise UsageError(f"the job is of version {version!r}; this is a dcmtx that reads version {VERSION}")
    if strange := sorted(_WITHOUT_NAME & set(form)):
        raise UsageError(f"job has no {', '.join(strange)}")
    job: Job = _record(Job, form, "job")
    _check(job)
    return job


def _check(job: Job) -> None:
    """Raise what `job` raises for the same options."""
    policy = job.request.policy
    if job.request.way is Way.CONVERT:
        consents = policy.photometric is not None
        on_device = job.request.backend.encodes_on_device
        target = resolve(job.request.target.name, job.request.parameters, consents=consents, on_device=on_device)
        check_policy(target, policy)
    check_backends(job.request.backend)
    check_device(job.request)
    assumed(job.request.policy.assume)
    for name, value in (("workers", job.workers), ("memory", job.memory)):
        if value < 1:
            raise UsageError(f"{name} is {value}, not 1 or more")


def _plain(value: Any) -> Any:
    """Return a value in its JSON form."""
    if isinstance(value, Syntax):
        return value.uid
    if isinstance(value, Record):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, Enum):
        return value.value
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def _record(kind: type[Any], form: Any, where: str) -> Any:
    """Return a record of this kind from a JSON object."""
    if not isinstance(form, dict):
        _refuse(where, "an object", form)
    hints = typing.get_type_hints(kind)
    if strange := sorted(set(form) - set(kind._fields)):
        raise UsageError(f"{where} has no {', '.join(strange)}")
    try:
        return kind(**{name: _typed(hints[name], value, f"{where}.{name}") for name, value in form.items()})
    except TypeError as error:
        raise UsageError(f"{where}: {error}") from None


def _typed(hint: Any, value: Any, where: str) -> Any:
    """Return a JSON value as the type of its field."""
    if typing.get_origin(hint) is types.UnionType:
        (inner,) = (one for one in typing.get_args(hint) if one is not type(None))
        return None if value is None else _typed(inner, value, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            _refuse(where, "a list", value)
        return tuple(_typed(typing.get_args(hint)[0], one, where) for one in value)
    if hint is Syntax:
        if not isinstance(value, str) or value not in BY_UID:
            _refuse(where, "the UID of a transfer syntax", value)
        return BY_UID[value]
    if issubclass(hint, Record):
        return _record(hint, value, where)
    if issubclass(hint, Enum):
        # Not only the words: True and False too, where an enumeration takes them.
        if not isinstance(value, str | bool):
            _refuse(where, f"one of {', '.join(str(member.value) for member in hint)}", value)
        try:
            return hint(value)
        except ValueError:
            _refuse(where, f"one of {', '.join(str(member.value) for member in hint)}", value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        _refuse(where, f"of type {hint.__name__}", value)
    return value


def _refuse(where: str, wanted: str, value: Any) -> NoReturn:
    raise UsageError(f"{where} is {value!r:.60}, not {wanted}")
