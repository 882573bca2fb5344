"""Stands in for nvImageCodec where there is no GPU: its interface, its limits and its traps, coded by the CPU.

What a frame makes it do is in the first of its samples: see MARKS. So one file of many can be the one that crashes it.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from enum import IntEnum
from types import SimpleNamespace

import imagecodecs
import numpy as np
from openjpeg.utils import encode_array

__version__ = "0.0"
QualityType = IntEnum("QualityType", "DEFAULT LOSSLESS QUALITY QUANTIZATION_STEP PSNR SIZE_RATIO", start=0)
Jpeg2kBitstreamType = IntEnum("Jpeg2kBitstreamType", "J2K JP2", start=0)
Jpeg2kProgOrder = IntEnum("Jpeg2kProgOrder", "LRCP RLCP RPCL PCRL CPRL", start=0)
ColorSpec = IntEnum("ColorSpec", "UNCHANGED SRGB GRAY SYCC", start=0)

# The first three samples of a frame that does something: these two, and one of the marks.
SIGNATURE = (201, 77)
MARKS = {"crash": 1, "hang": 2, "none": 3, "wrong": 4, "break": 5, "none in a batch": 6, "killed": 7}
_MARK_OF = {number: name for name, number in MARKS.items()}
# Once it is set, nothing works any more, as after an illegal memory access.
_broken = threading.Event()

# The codecs of the CPU that stand in for those of the GPU have traps of their own: one thread at a time.
_cpu = threading.Lock()
_USUAL_LEVELS = 5

# Tests count what a device process does in the files of this directory.
_COUNTS = os.environ.get("FAKE_GPU_COUNTS", "")


def _count(what: str, value: object = "") -> None:
    if _COUNTS:
        with open(os.path.join(_COUNTS, what), "a", encoding="ascii") as file:
            file.write(f"{os.getpid()} {value}\n")


def _die(number: int) -> None:
    os.kill(os.getpid(), number)
    # Another thread may be the one that gets the signal.
    time.sleep(3600)


_count("imported")
_count("limit", resource.getrlimit(resource.RLIMIT_AS)[0])
if os.environ.get("FAKE_GPU_FAILS") == "import":
    raise RuntimeError("CUDA Runtime failure: '#35'")
if os.environ.get("FAKE_GPU_FAILS") == "crash":
    _die(signal.SIGSEGV)


def _mark(array: np.ndarray) -> str:
    samples = array.reshape(-1)[:3].astype(int)
    return _MARK_OF.get(int(samples[2]), "") if tuple(samples[:2]) == SIGNATURE else ""


def _complain(text: str) -> None:
    os.write(2, f"\x1b[31m[ERROR] {text}\x1b[0m\n".encode())


def Jpeg2kEncodeParams(**given):  # noqa: N802 - as it is called there
    return SimpleNamespace(**given)


def EncodeParams(**given):  # noqa: N802
    return SimpleNamespace(**{"tile_width": 0, "tile_height": 0} | given)


def DecodeParams(**given):  # noqa: N802
    return SimpleNamespace(**given)


class CodeStream:
    """A buffer of a size to encode into, or a codestream to decode."""

    def __init__(self, given, pinned=False):  # noqa: ARG002
        if isinstance(given, int):
            self.room, self.data = given, _Coded()
            return
        self.data = bytes(given)
        if self.data[:4] != b"\xff\x4f\xff\x51":
            raise RuntimeError("Unsupported bitstream")
        (components,) = self._siz(36, 2)
        if not components:
            _die(signal.SIGFPE)
        x, y, x0, y0 = self._siz(4, 4, count=4)
        self.height, self.width, self.num_channels = y - y0, x - x0, components
        (depth,) = self._siz(38, 1)
        self.precision, self.signed = (depth & 0x7F) + 1, bool(depth & 0x80)
        self.dtype = np.dtype(f"{'int' if self.signed else 'uint'}{8 if self.precision <= 8 else 16}")

    def _siz(self, at, width, count=1):
        return [int.from_bytes(self.data[4 + at + n * width : 4 + at + (n + 1) * width], "big") for n in range(count)]


class _Coded(bytearray):
    """A code stream that was encoded. It is a buffer, and emptied when its place is used again."""


class Image:
    def __init__(self, array, precision=None):
        if array.dtype.kind not in "ui" or array.dtype.itemsize > 4:
            raise ValueError(array.dtype)
        self.array = array if array.ndim == 3 else array[..., None]
        self.precision = precision or array.dtype.itemsize * 8

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        return self.array


def as_images(arrays, precision=None):
    return [Image(array, precision) for array in arrays]


class _User:
    """What only one thread may use at a time: two at once crash the process."""

    def __init__(self, *, device_id, max_num_cpu_threads):  # noqa: ARG002
        if device_id < 0:
            raise RuntimeError("Could not create encoder. Code: 8")
        self._busy = threading.Lock()

    def __enter__(self):
        if not self._busy.acquire(blocking=False):
            _die(signal.SIGSEGV)

    def __exit__(self, *_):
        self._busy.release()

    def _acts(self, array, batch):
        """Do what the mark of a frame says; return whether the frame fails."""
        mark = _mark(array)
        if mark == "crash":
            _die(signal.SIGSEGV)
        if mark == "killed":
            _die(signal.SIGKILL)
        if mark == "hang":
            time.sleep(3600)
        if mark == "break":
            _broken.set()
        if _broken.is_set():
            _complain("an illegal memory access was encountered")
            return True
        if mark == "none" or (mark == "none in a batch" and batch > 1):
            _complain("Could not encode: Internal error")
            return True
        return False


class Encoder(_User):
    _coded_ht = False

    def encode(self, images, codec, params, code_stream_s):
        assert codec == "jpeg2k"
        with self:
            _count("encoded", len(images))
            streams = [self._one(image, params, len(images)) for image in images]
            made = []
            for stream, buffer in zip(streams, code_stream_s, strict=True):
                if stream is None or len(stream) > buffer.room:
                    made.append(None)
                    continue
                # What was there before is gone.
                buffer.data[:] = bytes(len(buffer.data))
                buffer.data = _Coded(stream)
                made.append(buffer.data)
            return made

    def _one(self, image, params, batch):
        coding, array = params.jpeg2k_encode_params, image.array
        if self._acts(array, batch):
            return None
        if coding.code_block_size not in ((32, 32), (64, 64)) or array.dtype not in ("u1", "u2", "i2"):
            return None
        if min(array.shape[:2]) < 18 or array.shape[2] not in (1, 3, 4):
            return None
        if coding.ht:
            self._coded_ht = True
        elif self._coded_ht or _mark(array) == "wrong":
            # The trap: this encoder has coded HTJ2K.
            array = array ^ 1
        if coding.ht and _mark(array) == "wrong":
            array = array ^ 1
        most = min(array.shape[:2]).bit_length()
        levels = min(coding.num_resolutions, most) - 1
        grey = array[..., 0] if array.shape[2] == 1 else array
        exact = params.quality_type == QualityType.LOSSLESS
        with _cpu:
            return _encode(np.ascontiguousarray(grey), image.precision, coding, levels, params, exact=exact)


def _encode(array, precision, coding, levels, params, *, exact):
    planar = None if array.ndim == 2 else False
    if coding.ht:
        samples = array
        if not exact:
            # Steps are relative to the precision of the header, which is that of the container until it is relabelled.
            samples = samples << (array.dtype.itemsize * 8 - precision)
        elif array.dtype.kind == "u":
            half = array.dtype.type(1 << (precision - 1))
            samples = (array - half).view(f"i{array.dtype.itemsize}")
        tile = (params.tile_height, params.tile_width) if params.tile_width else None
        made = imagecodecs.htj2k_encode(
            samples, level=None if exact else params.quality_value / (1 << precision), reversible=exact,
            rgb=bool(coding.mct_mode), planar=planar, resolutions=levels, tile=tile,
        )  # fmt: skip
        return _labelled(made, precision, array)
    if exact and levels != _USUAL_LEVELS:
        # Of a large image only: of a smaller one it makes fewer.
        return bytes(imagecodecs.jpeg2k_encode(
            array, level=0, codecformat="j2k", reversible=True, mct=bool(coding.mct_mode), planar=planar,
            resolutions=levels + 1, bitspersample=precision, numthreads=1,
        ))  # fmt: skip
    decibels = None if exact else [max(6 * precision + 10 - 20 * float(np.log10(params.quality_value)), 1.0)]
    return encode_array(
        array, bits_stored=precision, photometric_interpretation=2 if array.ndim == 2 else 1,
        use_mct=bool(coding.mct_mode), signal_noise_ratios=decibels,
    )  # fmt: skip


def _labelled(data, precision, array):
    """Set precision and sign in SIZ, and leave TLM out, which the library does not write."""
    data = bytearray(data)
    at = data.index(b"\xff\x51") + 4
    for component in range(1 if array.ndim == 2 else array.shape[2]):
        data[at + 36 + 3 * component] = (precision - 1) | (0x80 if array.dtype.kind == "i" else 0)
    return bytes(data)


class Decoder(_User):
    def decode(self, streams, params, images=None):
        assert params.allow_any_depth
        assert params.color_spec == ColorSpec.UNCHANGED
        with self:
            _count("decoded", len(streams))
            made = [self._one(stream, len(streams)) for stream in streams]
            if images is None:
                return made
            assert len(images) == len(made)
            for image, new in zip(images, made, strict=True):
                if new is not None:
                    image.array[...] = new.array
            return [None if new is None else image for image, new in zip(images, made, strict=True)]

    def _one(self, stream, batch):
        if stream.precision > 16 or (stream.signed and stream.precision <= 8):
            return None
        try:
            with _cpu:
                array = np.array(imagecodecs.jpeg2k_decode(stream.data, planar=False))
        except Exception:  # noqa: BLE001
            _complain("Could not decode")
            return None
        return None if self._acts(array, batch) else Image(array)
