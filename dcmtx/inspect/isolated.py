"""A file looked at with its frames decoded in a process of their own: a codec that crashes is a finding."""

from __future__ import annotations

import pickle

from dcmtx.errors import CodecError, DcmtxError
from dcmtx.finding import Finding
from dcmtx.inspect.info import Info, look


def prepare() -> None:
    """Load what decoding and comparing need, for many files of which each is decoded by a child of its own."""
    from dcmtx.codec.loading import load
    from dcmtx.pixel import bits, color, measure  # noqa: F401 - loaded for the children

    load()


def look_decoding(path: str) -> Info:
    """Return what `look` does with `decode`; if the codec takes the process with it, that is a finding.

    Raises what `look` raises.
    """
    from dcmtx.pool import isolation

    if path == "-" or not isolation.is_possible():
        return look(path, decode=True)
    import tempfile

    with tempfile.TemporaryFile() as box:

        def work() -> int:
            try:
                found: Info | DcmtxError = look(path, decode=True)
            except DcmtxError as error:
                found = error
            pickle.dump(found, box)
            box.flush()
            return 0

        try:
            isolation.run(work)
        except CodecError as error:
            info = look(path)
            return info.replace(frames=(), findings=(*info.findings, Finding.of_error(error)))
        box.seek(0)
        # Written by the child a moment ago, into a file without a name.
        found: Info | DcmtxError = pickle.load(box)  # noqa: S301
    if isinstance(found, DcmtxError):
        raise found
    return found
