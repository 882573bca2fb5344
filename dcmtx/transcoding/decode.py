"""Decodes the frames of a file to NumPy arrays, one at a time, without an encoder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dcmtx.codec.table import DECODERS
from dcmtx.dataset.element import PIXEL_DATA
from dcmtx.errors import DcmtxError, InputError, RefusedError, UnsupportedError
from dcmtx.pixel.format import PixelFormat
from dcmtx.place.bytes import Reader
from dcmtx.place.places import SourcePlace, open_reader
from dcmtx.planning.plan import Plan
from dcmtx.planning.planner import make
from dcmtx.planning.request import BackendChoice, Request, resolve
from dcmtx.policy import LOSSLESS, Policy, Signatures, Uid, Verify, WordOrder
from dcmtx.transcoding.coders import Asking, carry_out
from dcmtx.transcoding.decoder import FrameDecoder
from dcmtx.transcoding.frames import Frames as CodedFrames
from dcmtx.transcoding.job import Job, job
from dcmtx.transcoding.source import Opened, open_source

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Frames are decoded as for an uncompressed file; beyond the size limit of native Pixel Data, as uncompressed fragments.
_TARGET, _LARGE_TARGET = "explicit", "encapsulated"
_PIECE = 1 << 20


class DecodedFrames:
    """The frames of a file, in order. Each is decoded on access; none is kept.

    Iteration yields NumPy arrays of the `dtype` of `format`: `rows` x `columns`, or `rows` x `columns` x `samples` in
    colour. 1-bit pixels are zeros and ones, one byte each. `len` is Number of Frames, and `frames[n]` is one of them,
    counted from 0. Close it, or use it in a `with` block, to close the file.

    A frame that cannot be decoded raises InputError, CodecError or UnsupportedError with its number.
    """

    def __init__(self, job: Job) -> None:
        self._name = job.src
        self._source: Opened | None = None
        self._reader: Reader | None = None
        self._decoder: PlannedDecoder | None = None
        with self._named():
            reader = open_reader(job.source_place)
            self._reader = reader
            try:
                self._source = source = open_source(reader)
                self._decoder = decoder = decoder_of(source, job.request)
            except BaseException:
                self.close()
                raise
        self.format: PixelFormat = decoder.format

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Add the path of the file to errors."""
        try:
            yield
        except DcmtxError as error:
            error.path = error.path or self._name
            raise

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.format.frames

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the frames in order."""
        for number in range(len(self)):
            yield self[number]

    def __getitem__(self, number: int) -> NDArray[Any]:
        """Return one frame, counted from 0, or from the end if it is negative."""
        place = number + len(self) if number < 0 else number
        if not 0 <= place < len(self):
            raise IndexError(f"there is no frame {number}; there are {len(self)}")
        if self._decoder is None:
            raise ValueError("the frames are closed")
        with self._named():
            frame: NDArray[Any] = self._decoder(place)
        return frame

    def sha256(self) -> str:
        """Return the hexadecimal SHA-256 of all pixels: the `digest` of an Outcome, `pixels_sha256` of reports.

        It is that of Pixel Data in Explicit VR Little Endian, colour by pixel, without the pad byte.
        """
        from dcmtx.transcoding.tally import Digest

        digest = Digest()
        held = self._held()
        # Cells by pixel are carried as they are, and hashed so: chroma that is shared in them stays shared.
        if not held.encapsulated and held.format is not None and held.format.planar == 0:
            for offset in range(0, held.format.native_bytes, _PIECE):
                digest.add_bytes(held.native_bytes(offset, min(_PIECE, held.format.native_bytes - offset)))
            return digest.hexdigest()
        for frame in self:
            digest.add(frame, one_bit=self.format.allocated == 1)
        return digest.hexdigest()

    def _held(self) -> CodedFrames:
        """Return the frames as the file holds them."""
        if self._decoder is None:
            raise ValueError("the frames are closed")
        return self._decoder.held

    def close(self) -> None:
        """Close the file; a file object of the caller stays open. A second call does nothing."""
        decoder, self._decoder = self._decoder, None
        source, self._source = self._source, None
        reader, self._reader = self._reader, None
        if decoder is not None:
            decoder.close()
        if source is not None:
            source.close()
        if reader is not None:
            reader.close()

    def __enter__(self) -> Self:
        """Return the frames, which are open until the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def __del__(self) -> None:
        """Close the file if it is still open."""
        if getattr(self, "_reader", None) is not None:
            self.close()


def frames(
    src: SourcePlace, *, decoder: str | None = None, word_order: str | WordOrder = WordOrder.REFUSE
) -> DecodedFrames:
    """Return the frames of the DICOM file `src`, decoded one at a time as NumPy arrays, with their `format`.

    `src` is a path, `-`, bytes or a binary file object, as for `transcode`. The values are those of the file converted
    to Explicit VR Little Endian: whole words of Bits Allocated, signed as Pixel Representation says, colour by pixel in
    the colour space of `format.photometric`; shared chroma is repeated for each pixel. No window and no palette is
    applied. `decoder` names a backend; `word_order` is that of `transcode`.

    Raises InputError for a file that is not DICOM, is damaged or has no pixels, UnsupportedError where no backend
    decodes it, RefusedError where its word size is ambiguous.

    >>> import dcmtx
    >>> with dcmtx.frames("us-multiframe-htj2k-rpcl.dcm") as frames:
    ...     print(len(frames) == frames.format.frames, frames[0].shape == frames.format.shape)
    True True
    """
    return DecodedFrames(decoding_job(src, decoder=decoder, word_order=word_order))


def decoding_job(
    src: SourcePlace, *, decoder: str | None = None, word_order: str | WordOrder = WordOrder.REFUSE
) -> Job:
    """Return the job whose plan says how the frames of `src` are decoded."""
    # Reasons not to write the file are no reasons not to decode it.
    return job(
        src,
        to=_TARGET,
        decoder=decoder,
        word_order=word_order,
        signatures=Signatures.REMOVE,
        uid=Uid.KEEP,
        verify=False,
        force=True,
    )


def decoded(source: Opened, request: Request, number: int) -> tuple[NDArray[Any], PixelFormat]:
    """Return one frame (0-based) of an open file, and its format; `request` says by which decoder, and the word order.

    Raises what an access to `frames` raises, but without the path of the file.
    """
    policy = Policy(
        signatures=Signatures.REMOVE, uid=Uid.KEEP, word_order=request.policy.word_order, verify=Verify.NONE, force=True
    )
    plain = Request(resolve(_TARGET, LOSSLESS), policy, BackendChoice(decoder=request.backend.decoder))
    with contextlib.closing(decoder_of(source, plain)) as decoder:
        return decoder(number), decoder.format


def decoder_of(source: Opened, request: Request) -> PlannedDecoder:
    """Return what decodes the frames of an open file; `request` is that of a `decoding_job`. Close it.

    Raises what `frames` raises.
    """
    plan = _plan(source, request)
    return PlannedDecoder(plan, source.frames.in_words(plan.word_bytes))


def _plan(source: Opened, request: Request) -> Plan:
    """Return the plan of an uncompressed conversion; it says how frames are decoded."""
    pixel = source.dataset.header.pixel
    if pixel is None:
        raise InputError("it has no pixels", code="E_NO_PIXELDATA")
    if pixel.tag != PIXEL_DATA:
        raise UnsupportedError("its pixels are floating point, which are no frames yet", code="E_FLOAT")
    try:
        plan = make(source.dataset, source.frames, request, inside=False)
    except RefusedError as error:
        if error.code != "E_SIZE":
            raise
        larger = request.replace(target=resolve(_LARGE_TARGET, LOSSLESS))
        plan = make(source.dataset, source.frames, larger, inside=False)
    # Planning carries native cells even if the attributes make no sense; decoding needs them to.
    source.frames.check()
    return plan


def _by_pixel(fmt: PixelFormat) -> PixelFormat:
    """Return the format of native cells as arrays hold them."""
    colour = "YBR_FULL" if fmt.subsampled else fmt.photometric
    # NumPy has no 24-bit or 40-bit integers.
    return fmt.replace(photometric=colour, planar=0, allocated={24: 32, 40: 64}.get(fmt.allocated, fmt.allocated))


class PlannedDecoder:
    """Decodes frames as a plan says. Safe to call from several threads."""

    def __init__(self, plan: Plan, frames: CodedFrames) -> None:
        fmt = plan.source_format
        assert fmt is not None
        row = plan.decoder or DECODERS.choose(frames.syntax.uid, frames.syntax.label, fmt)
        self.held = frames
        self._decoded_format = plan.decoded_format or _by_pixel(fmt)
        self._decode = FrameDecoder(
            frames, row, plan.transform, held=fmt, shown=self._decoded_format, scans=True, option="the decoder"
        )
        self.format = _by_pixel(self._decoded_format)

    def close(self) -> None:
        """Close the codec."""
        self._decode.coder.close()

    def __call__(self, number: int) -> Any:
        """Return the words of one frame, 0-based. Raises InputError, CodecError or UnsupportedError with its number."""
        (result,) = carry_out([number], self._decoded)
        if isinstance(result, DcmtxError):
            raise result
        return result.astype(self.format.dtype, copy=False)

    def reduced(self, number: int, least: int) -> NDArray[Any] | None:
        """Return the words of one frame (0-based), halved as often as leaves the longer side `least` pixels.

        None where that is not once, for other codestreams than JPEG 2000 and HTJ2K, and where the library cannot.
        Raises InputError or CodecError with the number of the frame.
        """
        if self.held.syntax.family not in ("j2k", "htj2k"):
            return None
        try:
            return self._decode.reduced(self.held.frame(number), least)
        except DcmtxError as error:
            error.frame = number
            raise

    def _decoded(self, number: int) -> Asking:
        words = yield from self._decode.words(self.held.frame(number))
        return words
