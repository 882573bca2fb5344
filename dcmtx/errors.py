"""The exit statuses and the exceptions. Each class has a status, each instance a code and what it is about.

DcmtxError                 1   a bug in dcmtx, unless a subclass says otherwise
├── UsageError             2   the request makes no sense
├── InputError             3   not DICOM, truncated, broken encapsulation, inconsistent header
├── UnsupportedError       4   no codec for it, beyond a codec's limits, or a backend is not installed
├── RefusedError           5   the standard or the user's policy forbids it; the file itself is valid
├── CodecError             6   a backend failed
├── VerifyError            7   what was written does not decode to what was read
└── OutputError            8   the destination cannot be written, or exists and must not be replaced
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Self


class ExitStatus(IntEnum):
    """The exit statuses and their meaning. Help, man pages and README.md list them."""

    description: str

    def __new__(cls, value: int, description: str) -> Self:
        """Make a member from its number and meaning."""
        status = int.__new__(cls, value)
        status._value_ = value
        status.description = description
        return status

    OK = 0, "done, or nothing to do"
    BUG = 1, "a bug in dcmtx"
    USAGE = 2, "usage"
    INPUT = 3, "bad input: missing, unreadable, not DICOM, or damaged"
    UNSUPPORTED = 4, "not supported: no codec, beyond its limits, or not installed"
    REFUSED = 5, "refused by the standard or by policy"
    CODEC = 6, "a codec failed"
    VERIFY = 7, "verification failed"
    OUTPUT = 8, "the destination cannot be written, or must not be replaced"
    SEVERAL = 9, "several files, and some failed or were refused"
    HANGUP = 129, "hung up (SIGHUP)"
    INTERRUPTED = 130, "interrupted (SIGINT)"
    TERMINATED = 143, "terminated (SIGTERM)"


class DcmtxError(Exception):
    """Something dcmtx will not or cannot do.

    `what` says what is wrong, `advice` what to do about it, if known; `message` is both in one line. `path` names the
    file, `frame` is 0-based, `tag` is 0xGGGGEEEE. `code` is stable and meant for programs; `status` is the exit status
    of the command.
    """

    status: ClassVar[ExitStatus] = ExitStatus.BUG
    default_code: ClassVar[str] = "E_BUG"

    def __init__(
        self,
        what: str,
        *,
        advice: str = "",
        code: str | None = None,
        path: str | None = None,
        frame: int | None = None,
        tag: int | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.code = code or self.default_code
        self.path = path
        self.frame = frame
        self.tag = tag

    @property
    def message(self) -> str:
        """What is wrong, and what to do."""
        return f"{self.what}; {self.advice}" if self.advice else self.what

    def advise(self, advice: str) -> None:
        """Append to the advice, unless the text is empty."""
        self.advice = "; ".join(text for text in (self.advice, advice) if text)

    @property
    def reason(self) -> str:
        """What is wrong, and in which frame; frames are numbered from 1, as in the standard."""
        return f"frame {self.frame + 1}: {self.what}" if self.frame is not None else self.what

    def __str__(self) -> str:
        """Return the message, preceded by the frame."""
        return f"{self.reason}; {self.advice}" if self.advice else self.reason

    def __reduce__(self) -> tuple[object, ...]:
        """Make the error picklable: keyword arguments are not in `args`."""
        return (_restore, (type(self), self.what, self.advice, self.code, self.path, self.frame, self.tag))


class UsageError(DcmtxError):
    """The request contradicts itself or names something that does not exist."""

    status = ExitStatus.USAGE
    default_code = "E_USAGE"


class InputError(DcmtxError):
    """The source is missing, unreadable, not DICOM, truncated or inconsistent."""

    status = ExitStatus.INPUT
    default_code = "E_INPUT"


class UnsupportedError(DcmtxError):
    """No codec is known or installed for it, or it exceeds the limits of those installed."""

    status = ExitStatus.UNSUPPORTED
    default_code = "E_UNSUPPORTED"


class RefusedError(DcmtxError):
    """The standard or the user's policy forbids the result; the file itself is valid."""

    status = ExitStatus.REFUSED
    default_code = "E_REFUSED"


class CodecError(DcmtxError):
    """A backend failed on a frame; the cause is chained."""

    status = ExitStatus.CODEC
    default_code = "E_CODEC"


class VerifyError(DcmtxError):
    """What was written does not decode to what was read."""

    status = ExitStatus.VERIFY
    default_code = "E_VERIFY"


class OutputError(DcmtxError):
    """The destination cannot be written, or exists and must not be replaced."""

    status = ExitStatus.OUTPUT
    default_code = "E_OUTPUT"


class Stopped(KeyboardInterrupt):
    """A request to stop the current job. Not an error; only the requester catches it.

    A KeyboardInterrupt, because Python's compiler drops every other exception that comes while it folds constants.
    """


def _restore(
    kind: type[DcmtxError],
    what: str,
    advice: str,
    code: str,
    path: str | None,
    frame: int | None,
    tag: int | None,
) -> DcmtxError:
    return kind(what, advice=advice, code=code, path=path, frame=frame, tag=tag)
