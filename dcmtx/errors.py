"""The exception tree. Each class has an exit status; each instance a code and what it happened to.

DcmtxError                 1   a bug in dcmtx, unless a subclass says otherwise
├── UsageError             2   what was asked for makes no sense
├── InputError             3   not DICOM, truncated, broken encapsulation, inconsistent header
├── UnsupportedError       4   no codec for it, beyond a codec's limits, or a backend is not installed
├── RefusedError           5   the standard or the user's policy forbids it; nothing is wrong with the file
├── CodecError             6   a backend failed
├── VerifyError            7   what was written does not decode to what was read
└── OutputError            8   the destination cannot be written, or exists and must not be replaced
"""

from __future__ import annotations

from typing import ClassVar


class DcmtxError(Exception):
    """Something dcmtx will not or cannot do.

    `message` is one line: what is wrong; what to do. `path` names the file, `frame` is 0-based, `tag` is
    0xGGGGEEEE. `code` is stable and meant for programs; `status` is the exit status of the command.
    """

    status: ClassVar[int] = 1
    default_code: ClassVar[str] = "E_BUG"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        path: str | None = None,
        frame: int | None = None,
        tag: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.path = path
        self.frame = frame
        self.tag = tag

    def __str__(self) -> str:
        """Return the message, with the frame in the standard's own numbering, which starts at 1."""
        where = f"frame {self.frame + 1}: " if self.frame is not None else ""
        return f"{where}{self.message}"

    def __reduce__(self) -> tuple[object, ...]:
        """Let a worker process send the error as it is: keyword arguments are not in `args`."""
        return (_restore, (type(self), self.message, self.code, self.path, self.frame, self.tag))


class UsageError(DcmtxError):
    """The request contradicts itself or names something that does not exist."""

    status = 2
    default_code = "E_USAGE"


class InputError(DcmtxError):
    """The source is missing, unreadable, not DICOM, truncated or inconsistent."""

    status = 3
    default_code = "E_INPUT"


class UnsupportedError(DcmtxError):
    """No codec is known or installed for it, or it lies beyond the limits of those that are."""

    status = 4
    default_code = "E_UNSUPPORTED"


class RefusedError(DcmtxError):
    """The standard or the user's policy forbids the result; the file itself is in order."""

    status = 5
    default_code = "E_REFUSED"


class CodecError(DcmtxError):
    """A backend failed on a frame; the cause is chained."""

    status = 6
    default_code = "E_CODEC"


class VerifyError(DcmtxError):
    """What was written does not decode to what was read."""

    status = 7
    default_code = "E_VERIFY"


class OutputError(DcmtxError):
    """The destination cannot be written, or exists and must not be replaced."""

    status = 8
    default_code = "E_OUTPUT"


class Stopped(BaseException):
    """Somebody wants an end of what is being done; no error, and nobody's to handle but who wants it."""


def _restore(
    kind: type[DcmtxError], message: str, code: str, path: str | None, frame: int | None, tag: int | None
) -> DcmtxError:
    return kind(message, code=code, path=path, frame=frame, tag=tag)
