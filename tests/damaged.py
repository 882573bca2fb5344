"""Damaged codestreams, and what a decoder makes of them in a process of its own.

As a program: `python tests/damaged.py ojph 3000` decodes so many damaged HTJ2K streams by a decoder, each within ten
seconds, and prints how many were refused, decoded, too slow, or ended the process.
"""

from __future__ import annotations

import collections
import os
import select
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from dcmtx.codec.table import CHECKERS, DECODERS, ENCODERS
from dcmtx.pixel.format import PixelFormat

HTJ2K = "1.2.840.10008.1.2.4.201"
GREY = PixelFormat(96, 80, 1, photometric="MONOCHROME2", allocated=16, stored=12, high_bit=11, signed=False)
COLOUR = PixelFormat(96, 80, 3, photometric="YBR_RCT", allocated=8, stored=8, high_bit=7, signed=False)
# What one stream may take, in seconds and bytes of address space.
SECONDS = 10
_MEMORY = 12 << 30


def frame(fmt: PixelFormat) -> Any:
    """Return a picture with edges, slopes and noise."""
    rows, columns = np.mgrid[: fmt.rows, : fmt.columns]
    picture = (rows * 7 + columns * 3 + np.random.default_rng(7).integers(0, 40, rows.shape)) % (1 << fmt.stored)
    picture[20:50, 30:60] = (1 << fmt.stored) - 1
    samples = np.dstack([picture, picture[::-1], picture[:, ::-1]]) if fmt.samples == 3 else picture
    return np.ascontiguousarray(samples.astype(fmt.dtype))


def whole_streams() -> list[tuple[PixelFormat, bytes]]:
    """Return streams that are not damaged, by the preferred encoder."""
    streams = []
    for fmt in (GREY, COLOUR):
        row = ENCODERS.choose(HTJ2K, "HTJ2K", fmt)
        given = fmt.replace(photometric="RGB") if fmt.samples == 3 else fmt
        streams.append((fmt, ENCODERS.load(row).once(frame(fmt), given, fmt)))
    return streams


def damaged_streams(count: int, seed: int = 1) -> Iterator[tuple[PixelFormat, bytes]]:
    """Yield damaged streams, always the same for a seed: bytes changed, cut out, put in, and ends cut off.

    Half of the damage is in the first bytes, where the headers are. Size, components and precision stay, as they are
    compared with the data set before any decoder is called.
    """
    random = np.random.default_rng(seed)
    streams = whole_streams()
    for number in range(count):
        fmt, whole = streams[number % len(streams)]
        kept = 2 + 2 + int.from_bytes(whole[4:6], "big")
        stream = bytearray(whole)
        for _ in range(int(random.integers(1, 6))):
            end = min(len(stream), kept + 150) if random.integers(2) else len(stream)
            place = int(random.integers(kept, max(end, kept + 1)))
            kind = int(random.integers(8))
            if kind < 5:
                stream[place : place + 1] = bytes([int(random.integers(256))])
            elif kind == 5:
                del stream[place : place + int(random.integers(1, 9))]
            elif kind == 6:
                stream[place:place] = random.bytes(int(random.integers(1, 9)))
            else:
                del stream[place:]
        yield fmt, bytes(stream)


# --- the process that decodes -----------------------------------------------------------------------------------


def serve(backend: str) -> None:
    """Decode the streams that come by standard input, and say of each what became of it in one byte."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    (row,) = [row for row in (*DECODERS.rows(HTJ2K), *CHECKERS.rows(HTJ2K)) if row.backend == backend]
    decoder = DECODERS.load(row)
    while len(head := sys.stdin.buffer.read(5)) == 5:
        samples, length = struct.unpack("<BI", head)
        fmt = COLOUR if samples == 3 else GREY
        said = b"d"
        try:
            back = decoder.once(sys.stdin.buffer.read(length), fmt, fmt)
            assert back.shape == fmt.shape, back.shape
        except AssertionError:
            raise
        except Exception:  # noqa: BLE001 - refusing is what it should do
            said = b"r"
        os.write(1, said)


class Decoder:
    """A process that decodes; another one once it has died or been too slow. `text` is all that it wrote to stderr."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._process: subprocess.Popen[bytes] | None = None
        # Not a pipe, which would be full after a while.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the decoder
        self.text = b""

    def outcome(self, fmt: PixelFormat, stream: bytes) -> str:
        """Return what became of a stream: `refused`, `decoded`, `too slow`, or how the process died."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(struct.pack("<BI", fmt.samples, len(stream)) + stream)
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        said = process.stdout.read(1) if ready else None
        if said:
            return {b"d": "decoded", b"r": "refused"}[said]
        if said is None:
            process.kill()
        self._end()
        return "too slow" if said is None else f"died ({process.returncode})"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__, "--serve", self._backend],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            )  # fmt: skip
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.communicate()

    def close(self) -> None:
        """End the process, and keep what all of them wrote."""
        self._end()
        self._errors.seek(0)
        self.text = self._errors.read()
        self._errors.close()


def main(backend: str, count: int) -> None:
    """Print what became of damaged streams."""
    decoder, found = Decoder(backend), collections.Counter[str]()
    slowest = 0.0
    for fmt, stream in damaged_streams(count):
        started = time.monotonic()
        found[decoder.outcome(fmt, stream)] += 1
        slowest = max(slowest, time.monotonic() - started)
    decoder.close()
    print(f"{backend}: {dict(found)}; slowest {slowest:.1f} s; {len(decoder.text)} bytes on standard error")  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2])
    else:
        main(sys.argv[1], int(sys.argv[2]))
