"""Native codecs are called once, on a small frame, before two threads may call them at once.

Some fill tables when they are first called, without a lock: the encoder of OpenJPH, called by two threads as the first
thing that a process does, now and then gives a stream that nothing decodes. So each row of a plan codes a few pixels
first, the way that it will code the frames. It takes a millisecond, once per process. A row that keeps the interpreter
lock is left out: threads wait for one another there, and a forked process has but one.
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

# Rows and columns: code-blocks of more than one stripe, and the smallest that every row takes.
_SIDE = 32
_lock = _thread.allocate_lock()
# How colour is coded, by family and loss; RGB elsewhere.
_COLOURS = {
    ("j2k", False): "YBR_RCT", ("j2k", True): "YBR_ICT", ("htj2k", False): "YBR_RCT", ("htj2k", True): "YBR_ICT",
    ("jpeg", True): "YBR_FULL_422",
}  # fmt: skip
# What was called in this process: functions, and what makes them take another way.
_done: set[tuple[object, ...]] = set()


def others_run() -> bool:
    """Tell whether other threads run, which may convert something too."""
    threading = sys.modules.get("threading")
    return threading is not None and threading.active_count() > 1


def encoder(
    row: Row, given: PixelFormat, coded: PixelFormat, quality: EncodingParameters, verifier: Row | None
) -> None:
    """Call an encoder once as it will be called, and the decoder that verifies on what it made."""
    if verifier is not None and Runs.DEVICE in (row.runs, verifier.runs):
        # A device has one thread, and takes long to open: the other of the two is called without it.
        decoder(verifier, coded)
        verifier = None
    if row.runs is Runs.DEVICE:
        return
    if not any(one is not None and _shared(one) for one in (row, verifier)):
        return
    check = verifier.call if verifier is not None else None
    key = (row.call, check, coded.photometric, coded.samples, coded.dtype, coded.stored > 8, quality.lossy)
    _once(key, lambda: _encode(row, _small(given), _small(coded), quality, verifier))


def decoder(row: Row, coded: PixelFormat) -> None:
    """Call a decoder once for each way of coding that its syntaxes have: the next frame may be coded another way."""
    if _shared(row):
        key = (row.call, row.syntaxes, coded.samples, coded.allocated, coded.stored)
        _once(key, lambda: _decode(row, _small(coded)))


def recompressor(row: Row, coded: PixelFormat) -> None:
    """Call the encoder that turns JPEG streams into others; it turns them back too."""
    _once((row.call, coded.samples), lambda: _exhaust(_streams(row, _small(coded))))


def _shared(row: Row) -> bool:
    """Tell whether two threads can be inside the library at once."""
    return row.native and row.runs is Runs.THREADS


def _once(key: tuple[object, ...], call: Callable[[], None]) -> None:
    """Make a call the first in this process, while others wait. What fails here fails on a frame, and is told then."""
    with _lock:
        if key not in _done:
            _done.add(key)
            with contextlib.suppress(Exception):
                call()


def _encode(
    row: Row, given: PixelFormat, coded: PixelFormat, quality: EncodingParameters, verifier: Row | None
) -> None:
    # What depends on the size of an image is left to the codec: a few pixels have no ten resolutions.
    quality = quality.replace(resolutions=None, tile=None, code_block=None)
    data = ENCODERS.load(row).once(_ramp(given), given, coded, parameters=quality)
    if verifier is not None:
        DECODERS.load(verifier).once(data, coded, given)


def _exhaust(streams: Iterator[object]) -> None:
    for _ in streams:
        pass


def _decode(row: Row, fmt: PixelFormat) -> None:
    decoder = DECODERS.load(row)
    for data, coded in _streams(row, fmt):
        decoder.once(data, coded, _plain(coded))


def _streams(row: Row, fmt: PixelFormat) -> Iterator[tuple[bytes, PixelFormat]]:
    """Yield streams that a decoder of the same package reads, one with loss and one without, where there are such.

    They are of this format where that can be coded, else of 8 bits.
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
    """Return the format as an encoder takes it, of 8 bits if not of these; None if it does not take so many samples."""
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
    """Return a frame with values from all over the range."""
    import numpy as np

    low = -(1 << fmt.stored - 1) if fmt.signed else 0
    values = np.arange(fmt.pixels * fmt.samples, dtype=np.int64) * 37 % (1 << min(fmt.stored, 32)) + low
    words: Words = values.astype(fmt.dtype).reshape(fmt.shape)
    return words
