"""JPEG 2000 and HTJ2K on an NVIDIA GPU by nvImageCodec, in the process that owns the GPU (PS3.5 8.2.4, 8.2.14, 10.18).

Some requests the library changes without a word, such as a number of resolutions. So the header of every stream is
compared with what was asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dcmtx.codec import rate, search
from dcmtx.codec.jpeg2k import decode_imagecodecs, insert_tile_lengths, relabel
from dcmtx.codec.layout import NVIMGCODEC_HTJ2K, NVIMGCODEC_J2K, Layout
from dcmtx.device import client
from dcmtx.errors import CodecError, UnsupportedError
from dcmtx.pixel import bits
from dcmtx.pixel.codestream import Codestream, inspect
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

_ORDERS = ("LRCP", "RLCP", "RPCL", "PCRL", "CPRL")
# Samples of fewer bits are coded as 16 bits and relabelled: the library fails on noise, or does not take them.
_LEAST_UNSIGNED, _LEAST_SIGNED = 8, 9
_PRECISION_OF_FEW = 16
# What the library decodes. It returns nothing for other streams.
_MOST_BITS = 16
# Range of quantization steps, in values, to search for a ratio or a PSNR: the worst is this share of all values.
_WORST_STEP, _BEST_STEP = 0.5, 0.1


class _Encoder:
    """Encodes frames reversibly, with the true precision; HTJ2K has TLM, which .202 requires."""

    # Several threads may call `code` at once: each then has a connection of its own.
    for_threads = True
    layout: ClassVar[Layout]

    def open(self, given: PixelFormat, made: PixelFormat, parameters: EncodingParameters) -> None:
        """Settle what the library is asked for. Nothing is started yet."""
        high_throughput = self.layout.high_throughput
        self._made = made
        self._parameters = parameters
        self._few = made.stored < (_LEAST_SIGNED if made.signed else _LEAST_UNSIGNED)
        self._levels = self.layout.levels(made, parameters)
        self._order = parameters.progression or ("RPCL" if high_throughput else "LRCP")
        self._coding = {
            "ht": high_throughput,
            "order": self._order,
            "resolutions": self._levels + 1,
            "block": self.layout.block(parameters),
            "tile": self.layout.tile(made, parameters),
            "mct": made.photometric in ("YBR_RCT", "YBR_ICT"),
            "precision": _PRECISION_OF_FEW if self._few else made.stored,
            "loss": None,
        }

    def code(self, batch: list[Any]) -> list[Any]:
        """Return the codestream of each frame, or the exception if it failed."""
        return self._encode(batch, self._coding)

    def close(self) -> None:
        """Do nothing: the connection serves the next file too."""

    def _encode(self, batch: list[Words], coding: dict[str, Any]) -> list[Any]:
        with client.channel() as channel:
            streams = channel.encode([self._samples(words) for words in batch], coding)
        return [stream if isinstance(stream, Exception) else self._finished(stream, coding) for stream in streams]

    def _samples(self, words: Words) -> Words:
        """Return samples as the library takes them: 8 or 16 bits, or signed ones of 16 where Bits Stored is small."""
        samples = bits.narrow(words, self._made.stored)
        if not self._few:
            return samples
        # As JPEG 2000 itself centres unsigned samples on zero (T.800 G.1), so that the label alone must change.
        centre = 0 if self._made.signed else 1 << (self._made.stored - 1)
        centred: Words = samples.astype(np.int16) - np.int16(centre)
        return centred

    def _finished(self, stream: bytes, coding: dict[str, Any]) -> bytes | CodecError:
        """Return a codestream with TLM and the true precision, or an error if it is not what was asked for."""
        made = self._made
        if self._few:
            stream = relabel(stream, made)
        kind = "htj2k" if coding["ht"] else "j2k"
        if coding["ht"]:
            stream = insert_tile_lengths(stream)
        found = inspect(kind, stream)
        wanted = {
            "kind": kind, "rows": made.rows, "columns": made.columns, "components": made.samples,
            "precision": made.stored, "signed": made.signed, "levels": self._levels,
            "progression": _ORDERS.index(self._order), "reversible": coding["loss"] is None,
        }  # fmt: skip
        for name, value in wanted.items():
            if getattr(found, name) != value:
                told = f"{name} is {getattr(found, name)}, not {value}"
                return CodecError(f"nvimgcodec made a codestream whose {told}")
        return stream


class EncoderJ2K(_Encoder):
    """Encodes JPEG 2000, reversibly."""

    layout = NVIMGCODEC_J2K


class EncoderHTJ2K(_Encoder):
    """Encodes HTJ2K, reversibly."""

    layout = NVIMGCODEC_HTJ2K


class _LossyEncoder(_Encoder):
    """Encodes frames irreversibly, by a ratio or a PSNR: each with a quantization step that is searched for."""

    def code(self, batch: list[Any]) -> list[Any]:
        """Return the codestream of each frame, or the exception if it failed."""
        results: list[Any] = []
        for words in batch:
            try:
                results.append(self._search(words))
            except Exception as error:  # noqa: BLE001 - it is the result of this frame
                results.append(error)
        return results

    def _search(self, words: Words) -> bytes:
        made = self._made
        steps = (_WORST_STEP * (1 << made.stored), _BEST_STEP)

        def encode(step: float) -> bytes:
            return self._with_loss(words, "QUANTIZATION_STEP", step)

        def measure(encoded: bytes) -> float:
            return rate.psnr(decode_imagecodecs(encoded, made, made), words, made)

        return rate.encode(
            lambda ratio: search.by_ratio(encode, rate.frame_bytes(made), ratio, *steps),
            lambda psnr: search.by_psnr(encode, measure, psnr, *steps),
            measure,
            self._parameters,
        )

    def _with_loss(self, words: Words, kind: str, value: float) -> bytes:
        (result,) = self._encode([words], self._coding | {"loss": [kind, value]})
        if isinstance(result, Exception):
            raise result
        encoded: bytes = result
        return encoded


class LossyEncoderJ2K(_LossyEncoder):
    """Encodes JPEG 2000, irreversibly."""

    layout = NVIMGCODEC_J2K


class LossyEncoderHTJ2K(_LossyEncoder):
    """Encodes HTJ2K, irreversibly."""

    layout = NVIMGCODEC_HTJ2K


class _Decoder:
    """Decodes frames; colour comes by pixel, and component transforms are undone, as OpenJPEG does it."""

    for_threads = True
    kind: ClassVar[str]

    def open(self, given: PixelFormat, made: PixelFormat, parameters: EncodingParameters) -> None:
        """Remember the format of the codestreams."""
        self._given = given

    def close(self) -> None:
        """Do nothing: the connection serves the next file too."""

    def code(self, batch: list[Any]) -> list[Any]:
        """Return the samples of each codestream, or the exception if it failed."""
        results: list[Any] = [None] * len(batch)
        sent: list[int] = []
        for place, data in enumerate(batch):
            try:
                self._check(inspect(self.kind, data))
            except Exception as error:  # noqa: BLE001 - it is the result of this frame
                results[place] = error
            else:
                sent.append(place)
        if sent:
            size = len(sent) * self._given.pixels * self._given.samples * 2
            with client.channel() as channel:
                decoded = channel.decode(
                    [bytes(batch[place]) for place in sent], size, high_throughput=self.kind == "htj2k"
                )
            for place, words in zip(sent, decoded, strict=True):
                results[place] = words if isinstance(words, Exception) else self._shaped(words)
        return results

    def _check(self, stream: Codestream) -> None:
        """Raise for a stream that must not be sent: some end the process, others are decoded with a wrong sign."""
        given = self._given
        found = (stream.kind, stream.rows, stream.columns, stream.components)
        if found != (self.kind, given.rows, given.columns, given.samples):
            raise CodecError(f"nvimgcodec is not given a stream that contradicts its data set ({found})")
        least = _LEAST_SIGNED if stream.signed else 1
        if not least <= stream.precision <= _MOST_BITS:
            sign = "signed" if stream.signed else "unsigned"
            raise UnsupportedError(
                f"nvimgcodec does not decode {sign} samples of {stream.precision} bits",
                advice="leave out --decoder nvimgcodec",
                code="E_LIMIT",
            )

    def _shaped(self, words: Words) -> Words | CodecError:
        """Return the samples without an axis for the only component."""
        shape = (*self._given.shape, 1) if self._given.samples == 1 else self._given.shape
        if words.shape != shape:
            return CodecError(f"nvimgcodec returned {words.shape} samples instead of {shape}")
        return words.reshape(self._given.shape)


class DecoderJ2K(_Decoder):
    """Decodes JPEG 2000."""

    kind = "j2k"


class DecoderHTJ2K(_Decoder):
    """Decodes HTJ2K."""

    kind = "htj2k"
