"""What dcmtx is measured against: the same imports, the same codec calls, the same threads, and nothing else.

`python bare.py CODEC GEOMETRY SRC DST [--verify]` reads the frames of native 16-bit grey pixels, encodes each and
writes one after another. No data set, no check of anything; `--verify` decodes each frame again and compares, as
start-up is measured with. It stands alone, so that dcmtx is compared with the codecs and not with itself.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import click  # noqa: F401 - imported because dcmtx does
import imagecodecs
import numpy as np

WIDTH = 2  # bytes of a word


class Geometry:
    """Where the frames are and what they hold."""

    def __init__(self, text: str) -> None:
        self.rows, self.columns, self.frames, self.stored, signed, self.offset = map(int, text.split(","))
        self.signed = bool(signed)
        self.words = np.dtype("<i2" if signed else "<u2")
        self.size = self.rows * self.columns * WIDTH


def jpegls_encoder(geometry):
    """Return the encoder that dcmtx takes for this precision."""
    if geometry.stored == 16:
        return lambda words: imagecodecs.jpegls_encode(words.view("u2"), out=bytearray(2 * words.nbytes + 1024))
    import _CharLS

    function = ctypes.CDLL(_CharLS.__file__).JpegLsEncode
    # JlsParameters of CharLS: width, height, bits, stride, components, near, interleave, transform; 56 bytes unused.
    parameters = struct.pack(
        "<8i56x", geometry.columns, geometry.rows, geometry.stored, geometry.columns * WIDTH, 1, 0, 0, 0
    )
    mask = np.uint16((1 << geometry.stored) - 1)

    def encode(words):
        samples = words.view("u2")
        if geometry.signed:
            samples = samples & mask
        room = np.empty(2 * samples.nbytes + 1024, np.uint8)
        length = ctypes.c_size_t()
        status = function(
            ctypes.c_void_p(room.ctypes.data), ctypes.c_size_t(room.nbytes), ctypes.byref(length),
            ctypes.c_void_p(samples.ctypes.data), ctypes.c_size_t(samples.nbytes), parameters, None,
        )  # fmt: skip
        assert status == 0
        return room[: length.value].tobytes()

    return encode


def j2k_encoder(geometry):
    return lambda words: imagecodecs.jpeg2k_encode(
        words, level=0, codecformat="j2k", reversible=True, mct=False, bitspersample=geometry.stored, numthreads=1
    )


def htj2k_encoder(geometry):
    half = np.uint16(1 << (geometry.stored - 1))
    depth = geometry.stored - 1 | (0x80 if geometry.signed else 0)

    def encode(words):
        samples = words if geometry.signed else (words - half).view("<i2")
        stream = bytearray(imagecodecs.htj2k_encode(samples, reversible=True, rgb=False, resolutions=5, tlm=True))
        stream[stream.index(b"\xff\x51") + 40] = depth
        return bytes(stream)

    return encode


def rle_encoder(geometry):
    def encode(words):
        cells = words.view(np.uint8).reshape(geometry.rows, geometry.columns, WIDTH)
        segments = []
        for byte in reversed(range(WIDTH)):
            segment = bytes(imagecodecs.packbits_encode(cells[:, :, byte].copy(), axis=-1))
            segments.append(segment + b"\0" * (len(segment) % 2))
        return b"".join([struct.pack("<16I", WIDTH, 64, 64 + len(segments[0]), *[0] * 13), *segments])

    return encode


def rle_decode(stream):
    return np.frombuffer(imagecodecs.dicomrle_decode(stream, np.dtype("<u2")), "<u2")


# Name: how the encoder is made, and how what it wrote is decoded.
CODECS = {
    "jpegls": (jpegls_encoder, imagecodecs.jpegls_decode),
    "j2k": (j2k_encoder, lambda stream: imagecodecs.jpeg2k_decode(stream, numthreads=1)),
    "htj2k": (htj2k_encoder, lambda stream: imagecodecs.jpeg2k_decode(stream, numthreads=1)),
    "rle": (rle_encoder, rle_decode),
}


def main() -> None:
    """Encode a file, as the command line says."""
    codec, geometry, src, dst = sys.argv[1], Geometry(sys.argv[2]), sys.argv[3], sys.argv[4]
    verify = "--verify" in sys.argv
    make, decode = CODECS[codec]
    encode = make(geometry)
    handle = os.open(src, os.O_RDONLY)
    mask = np.uint16((1 << geometry.stored) - 1)

    def work(number):
        data = os.pread(handle, geometry.size, geometry.offset + number * geometry.size)
        words = np.frombuffer(data, geometry.words).reshape(geometry.rows, geometry.columns)
        stream = encode(words)
        if verify:
            back = decode(stream)
            assert np.array_equal(back.view("u2").reshape(words.shape) & mask, words.view("u2") & mask)
        return stream

    with open(dst, "wb") as out:
        if geometry.frames == 1:
            out.write(work(0))
            return
        workers = len(os.sched_getaffinity(0))
        window = deque()
        with ThreadPoolExecutor(workers) as pool:
            for number in range(geometry.frames):
                window.append(pool.submit(work, number))
                if len(window) > 2 * workers:
                    out.write(window.popleft().result())
            while window:
                out.write(window.popleft().result())


if __name__ == "__main__":
    main()
