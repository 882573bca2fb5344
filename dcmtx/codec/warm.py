"""Warm-up: native codecs are called once, on a small frame, before several threads may call them at once.

Some fill tables on the first call, without a lock: if two threads make the first calls in a process to the encoder of
OpenJPH, it sometimes gives a stream that cannot be decoded. So each row of a plan codes a few pixels first, in the way
that it will code the frames. It takes a millisecond, once per process. A row that keeps the interpreter lock does not
need this: its threads wait for one another, and a forked process has only one.
"""

from __future__ import annotations

import _thread
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from dcmtx.codec.row import Row, Runs
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters
from dcmtx.syntax import BY_UID, JPEG_BASELINE, JPEG_RECOMPRESSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

# Rows and columns: large enough for code-blocks of several stripes, and the smallest size that every row takes.
_SIDE = 32
_lock = _thread.allocate_lock()
# How colour is coded, by family and loss; RGB otherwise.
_COLOURS = {
    ("j2k", False): "YBR_RCT", ("j2k", True): "YBR_ICT", ("htj2k", False): "YBR_RCT", ("htj2k", True): "YBR_ICT",
    ("jpeg", True): "YBR_FULL_422",
}  # fmt: skip
# The calls made in this process: functions, and the parameters that select their code paths.
_done: set[tuple[object, ...]] = set()


def others_run() -> bool:
    """Tell whether other threads are running, which may be converting too."""
    threading = sys.modules.get("threading")
    return threading is not None and threading.active_count() > 1


def encoder(
    row: Row, given: PixelFormat, coded: PixelFormat, quality: EncodingParameters, judges: tuple[Row, ...]
) -> None:
    """Call an encoder once as it will be called, and the decoders that verify it on its output."""
    # A device has one thread and is slow to open, so the others are called without it.
    apart = tuple(one for one in judges if Runs.DEVICE in (row.runs, one.runs))
    for one in apart:
        decoder(one, coded)
    if row.runs is Runs.DEVICE:
        return
    judges = tuple(one for one in judges if one not in apart)
    if not any(_shared(one) for one in (row, *judges)):
        return
    calls = tuple(one.call for one in judges)
    key = (row.call, calls, coded.photometric, coded.samples, coded.dtype, coded.stored > 8, quality.lossy)
    _once(key, lambda: _encode(row, _small(given), _small(coded), quality, judges))


def decoder(row: Row, coded: PixelFormat) -> None:
    """Call a decoder once for each way of coding in its syntaxes: the next frame may use another way."""
    if _shared(row):
        key = (row.call, row.syntaxes, coded.samples, coded.allocated, coded.stored)
        _once(key, lambda: _decode(row, _small(coded)))


def recompressor(row: Row, coded: PixelFormat) -> None:
    """Call the encoder that recompresses JPEG streams; it also restores them."""
    _once((row.call, coded.samples), lambda: _exhaust(_streams(row, _small(coded))))


def _shared(row: Row) -> bool:
    """Tell whether two threads can be inside the library at once."""
    return row.native and row.runs is Runs.THREADS


def _once(key: tuple[object, ...], call: Callable[[], None]) -> None:
    """Make a call once in this process, while others wait. A failure here recurs on a frame and is reported then."""
    with _lock:
        if key not in _done:
            _done.add(key)
            with contextlib.suppress(Exception):
                call()


def _encode(
    row: Row, given: PixelFormat, coded: PixelFormat, quality: EncodingParameters, judges: tuple[Row, ...]
) -> None:
    # Options that depend on the image size are left to the codec: a few pixels do not have ten resolutions.
    quality = quality.replace(resolutions=None, tile=None, code_block=None)
    data = ENCODERS.load(row).once(_ramp(given), given, coded, parameters=quality)
    for one in judges:
        DECODERS.load(one).once(data, coded, given)


def _exhaust(streams: Iterator[object]) -> None:
    for _ in streams:
        pass


def _decode(row: Row, fmt: PixelFormat) -> None:
    decoder = DECODERS.load(row)
    for data, coded in _streams(row, fmt):
        decoder.once(data, coded, _plain(coded))


def _streams(row: Row, fmt: PixelFormat) -> Iterator[tuple[bytes, PixelFormat]]:
    """Yield streams that a decoder of the same package reads: one lossy and one lossless, if available.

    They have this format if it can be coded, else 8 bits.
    """
    ways: set[bool] = set()
    for uid in row.syntaxes:
        for one in ENCODERS.rows(uid):
            coded = _codable(one, BY_UID[uid].family, fmt)
            if coded is None or one.package != row.package or one.lossy in ways or not one.at_hand():
                continue
            ways.add(one.lossy)
            encoder = ENCODERS.load(one)
            if uid == JPEG_RECOMPRESSION.uid:
                for jpeg, coded in _streams(DECODERS.rows(JPEG_BASELINE.uid)[0], fmt):
                    yield encoder.once(jpeg, coded, coded), coded
            else:
                plain = _plain(coded)
                quality = EncodingParameters(lossy=one.lossy)
                yield encoder.once(_ramp(plain), plain, coded, parameters=quality), coded


def _codable(row: Row, family: str, fmt: PixelFormat) -> PixelFormat | None:
    """Return the format as an encoder takes it, else with 8 bits; None if it does not take that number of samples."""
    grey = fmt.samples == 1
    name = "MONOCHROME2" if grey else _COLOURS.get((family, row.lossy), "RGB")
    coded = fmt.replace(photometric=name, signed=False, planar=0, high_bit=fmt.stored - 1)
    for one in (coded, coded.replace(allocated=8, stored=8, high_bit=7)):
        if not row.limits.reason(one):
            return one
    return None


def _plain(coded: PixelFormat) -> PixelFormat:
    return coded if coded.samples == 1 else coded.replace(photometric="RGB")


def _small(fmt: PixelFormat) -> PixelFormat:
    return fmt.replace(rows=_SIDE, columns=_SIDE, frames=1)


def _ramp(fmt: PixelFormat) -> Words:
    """Return a frame with values spread over the whole range."""
    import numpy as np

    low = -(1 << fmt.stored - 1) if fmt.signed else 0
    values = np.arange(fmt.pixels * fmt.samples, dtype=np.int64) * 37 % (1 << min(fmt.stored, 32)) + low
    words: Words = values.astype(fmt.dtype).reshape(fmt.shape)
    return words
