"""Calls of nvImageCodec. Only a device process imports it: importing it makes a context on the GPU.

An encoder that has coded HTJ2K and then codes JPEG 2000 writes wrong pixels, and two threads in one encoder crash. So
each thread has its own `Lane`, and that an encoder and a decoder for either coding.
"""

from __future__ import annotations

import importlib
import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

MODULE = "nvidia.nvimgcodec"
_CODEC = "jpeg2k"
# Threads of the library per lane.
_THREADS = 4
# Noise expands a little; a stream that does not fit its buffer would fail.
_SPARE = 1.5
_LEAST_BUFFER = 1 << 16
_COLOURED_TEXT = re.compile(r"\x1b\[[0-9;]*m")


def load(gpu: int) -> None:
    """Import the library and make its first objects. Raises what it raises without a usable GPU."""
    nvimgcodec = importlib.import_module(MODULE)
    nvimgcodec.Encoder(device_id=gpu, max_num_cpu_threads=1)


class Lane:
    """The encoders and decoders of one thread on one GPU."""

    def __init__(self, gpu: int) -> None:
        self._gpu = gpu
        self._coders: dict[bool, _Coder] = {}

    def _coder(self, *, high_throughput: bool) -> _Coder:
        coder = self._coders.get(high_throughput)
        if coder is None:
            coder = self._coders[high_throughput] = _Coder(self._gpu)
        return coder

    def encode(self, frames: list[Words], coding: dict[str, Any]) -> list[Any]:
        """Return a buffer with the codestream of each frame, or None. The buffers hold until the next call."""
        return self._coder(high_throughput=coding["ht"]).encode(frames, coding)

    def decode(self, streams: list[bytes], *, high_throughput: bool) -> list[Words | str | None]:
        """Return the samples of each codestream, with the components last; None, or a message, where that failed."""
        return self._coder(high_throughput=high_throughput).decode(streams)

    def works(self) -> bool:
        """Tell whether a small frame comes back as it was: after some errors a GPU gives nothing any more."""
        import numpy as np

        frame = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
        coding = {"ht": True, "order": "RPCL", "resolutions": 6, "block": 64, "mct": False, "tile": None, "loss": None}
        try:
            (stream,) = self.encode([frame], coding | {"precision": 16})
            (words,) = self.decode([bytes(stream)], high_throughput=True)
        except Exception:  # noqa: BLE001 - whatever it raises, it does not work
            return False
        return isinstance(words, np.ndarray) and np.array_equal(words.reshape(frame.shape), frame)


class _Coder:
    """One encoder and one decoder, for one coding, with the buffers that they use again."""

    def __init__(self, gpu: int) -> None:
        nvimgcodec = importlib.import_module(MODULE)
        self._library = nvimgcodec
        self._encoder = nvimgcodec.Encoder(device_id=gpu, max_num_cpu_threads=_THREADS)
        self._decoder = nvimgcodec.Decoder(device_id=gpu, max_num_cpu_threads=_THREADS)
        # The default is 8-bit RGB.
        self._wanted = nvimgcodec.DecodeParams(allow_any_depth=True, color_spec=nvimgcodec.ColorSpec.UNCHANGED)
        self._buffers: list[Any] = []
        self._buffer_size = 0
        self._images: list[Any] = []
        self._shown: list[tuple[object, ...]] = []

    def encode(self, frames: list[Words], coding: dict[str, Any]) -> list[Any]:
        # Without the precision, that of the words would be written into SIZ.
        images = self._library.as_images(frames, precision=coding["precision"])
        size = max(frame.nbytes for frame in frames)
        streams = self._encoder.encode(
            images, codec=_CODEC, params=self._parameters(coding), code_stream_s=self._pinned(len(frames), size)
        )
        return [None if stream is None else memoryview(stream).cast("B") for stream in streams]

    def _pinned(self, count: int, size: int) -> list[Any]:
        """Return buffers for the streams of so many frames of at most `size` bytes; the library pins them."""
        need = max(int(size * _SPARE), _LEAST_BUFFER)
        if need > self._buffer_size or need * 4 < self._buffer_size:
            self._buffers, self._buffer_size = [], need
        while len(self._buffers) < count:
            self._buffers.append(self._library.CodeStream(self._buffer_size, True))
        return self._buffers[:count]

    def _parameters(self, coding: dict[str, Any]) -> Any:
        library = self._library
        kind, value = coding["loss"] or ("LOSSLESS", 0.0)
        tile = coding["tile"]
        more = {} if tile is None else {"tile_width": tile, "tile_height": tile}
        return library.EncodeParams(
            quality_type=getattr(library.QualityType, kind),
            quality_value=value,
            jpeg2k_encode_params=library.Jpeg2kEncodeParams(
                # The default has the boxes of JP2.
                bitstream_type=library.Jpeg2kBitstreamType.J2K,
                prog_order=getattr(library.Jpeg2kProgOrder, coding["order"]),
                num_resolutions=coding["resolutions"],
                code_block_size=(coding["block"], coding["block"]),
                mct_mode=int(coding["mct"]),
                ht=coding["ht"],
            ),
            **more,
        )

    def decode(self, streams: list[bytes]) -> list[Words | str | None]:
        import numpy as np

        results: list[Words | str | None] = [None] * len(streams)
        sources: list[Any] = []
        shown: list[tuple[object, ...]] = []
        places: list[int] = []
        for place, stream in enumerate(streams):
            try:
                source = self._library.CodeStream(stream)
                shape = (source.height, source.width, source.num_channels, source.precision, str(source.dtype))
            except RuntimeError as error:
                results[place] = str(error) or "it is no codestream"
                continue
            sources.append(source)
            shown.append(shape)
            places.append(place)
        if not sources:
            return results
        images = self._decode(sources, shown)
        for place, image in zip(places, images, strict=True):
            results[place] = None if image is None else np.asarray(image.cpu())
        return results

    def _decode(self, sources: list[Any], shown: list[tuple[object, ...]]) -> list[Any]:
        """Decode into the images of the batch before if they are of the same formats; else into new ones."""
        again = self._images if shown == self._shown else None
        self._images, self._shown = [], []
        if again is None:
            images = self._decoder.decode(sources, params=self._wanted)
        else:
            images = self._decoder.decode(sources, params=self._wanted, images=again)
        if all(image is not None for image in images):
            self._images, self._shown = list(images), shown
        return list(images)


class Complaints:
    """What the library writes to standard error, which is where it says why something failed."""

    def __init__(self) -> None:
        self._file = os.memfd_create("complaints", os.MFD_CLOEXEC)
        os.dup2(self._file, 2)

    def forget(self) -> None:
        """Drop what has been written so far."""
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)

    def read(self) -> str:
        """Return what was written since `forget`, on one line."""
        text = os.pread(self._file, 4096, 0).decode("utf-8", "replace")
        return " ".join(_COLOURED_TEXT.sub("", text).split())
