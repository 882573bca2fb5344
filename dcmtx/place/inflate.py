"""A deflated data set (PS3.5 A.5) as bytes at offsets: inflated to a spool, piece by piece."""

from __future__ import annotations

import zlib

from dcmtx.errors import InputError
from dcmtx.place.bytes import FileBytes, Reader, Spool

_PIECE = 1 << 20
# More than this is no data set: native Pixel Data has 4 GiB at most (PS3.5 8.1.1).
_LARGEST_INFLATED = 5 << 30
# From so many bytes on, nothing real deflates to less than so small a part of it.
_LARGE = 1 << 30
_LARGE_RATIO = 500


def inflate(file: Reader, start: int, spool_in: str | None) -> tuple[FileBytes, bool]:
    """Return what is deflated from `start` on, and whether zlib wraps it, which the standard does not allow.

    Raises InputError, E_DEFLATE, where it is damaged, E_TRUNCATED where it ends early, E_BOMB where it is no data set.
    """
    from isal import isal_zlib

    damaged: type[Exception] = isal_zlib.IsalError  # type: ignore[assignment]  # its stub says otherwise
    first = file.pread(2, start)
    wrapped = len(first) == 2 and first[0] & 15 == 8 and int.from_bytes(first, "big") % 31 == 0
    for window in [zlib.MAX_WBITS, -zlib.MAX_WBITS] if wrapped else [-zlib.MAX_WBITS]:
        try:
            return _inflate(file, start, spool_in, window), window > 0
        except damaged as error:
            reason = error
    raise InputError(f"the deflated data set is damaged: {reason}", code="E_DEFLATE") from reason


def _inflate(file: Reader, start: int, spool_in: str | None, window: int) -> FileBytes:
    from isal import isal_zlib

    # Twice as fast as zlib.
    inflater = isal_zlib.decompressobj(window)
    inflated = Spool(spool_in)
    size = 0
    try:
        position = start
        while not inflater.eof:
            piece = inflater.unconsumed_tail
            if not piece:
                piece = file.pread(_PIECE, position)
                position += len(piece)
            # There may be more to come out when all has gone in.
            data = inflater.decompress(piece, _PIECE)
            if not piece and not data:
                raise InputError("the deflated data set ends early; the file is truncated", code="E_TRUNCATED")
            inflated.write(data)
            size += len(data)
            _check_inflated(size, position - start)
    except BaseException:
        inflated.close()
        raise
    return inflated.read_back()


def _check_inflated(size: int, deflated: int) -> None:
    """Raise InputError, E_BOMB, for a deflated data set that is more than any: it would fill the disk.

    What is real stays below: native Pixel Data has 4 GiB at most (PS3.5 8.1.1), and an image that deflates by more than
    500, as black ones do, is no GiB.
    """
    if size > _LARGEST_INFLATED or (size > _LARGE and size > _LARGE_RATIO * deflated):
        raise InputError(
            f"the deflated data set inflates to more than {size} bytes, {size // max(deflated, 1)} times its own; it "
            "is damaged, or was made to do harm",
            code="E_BOMB",
        )
