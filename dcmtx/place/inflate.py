"""Random access to a deflated data set (PS3.5 A.5): inflates it to a spool, piece by piece."""

from __future__ import annotations

import zlib

from dcmtx.errors import InputError
from dcmtx.place.bytes import FileBytes, Reader, Spool

_PIECE = 1 << 20
# No data set is larger than this: native Pixel Data has 4 GiB at most (PS3.5 8.1.1).
_LARGEST_INFLATED = 5 << 30
# From this size on, no real data set deflates by more than this ratio.
_LARGE = 1 << 30
_LARGE_RATIO = 500


def inflate(file: Reader, start: int, spool_in: str | None) -> tuple[FileBytes, bool]:
    """Inflate everything from `start`; return a reader, and whether a zlib header wraps it, which the standard forbids.

    Raises InputError: E_DEFLATE if it is damaged, E_TRUNCATED if it ends early, E_BOMB if it is too large to be real.
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
            # After the last input there may still be output.
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
    """Raise InputError, E_BOMB, for output that is too large for a data set and would fill the disk.

    Real data sets stay below: native Pixel Data has 4 GiB at most (PS3.5 8.1.1), and images that deflate by more than
    500, such as black ones, are smaller than 1 GiB.
    """
    if size > _LARGEST_INFLATED or (size > _LARGE and size > _LARGE_RATIO * deflated):
        raise InputError(
            f"the deflated data set inflates to more than {size} bytes, {size // max(deflated, 1)} times its own; it "
            "is damaged, or was made to do harm",
            code="E_BOMB",
        )
