"""A codestream against the data set and the transfer syntax around it (PS3.5 8.2, A.4).

What is reason not to decode is in `dcmtx.rules.agreement`.
"""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.finding import Finding, Severity
from dcmtx.pixel.codestream import Codestream, Transform
from dcmtx.pixel.format import PixelFormat
from dcmtx.syntax import ROOT, Loss, Syntax

_BITS_STORED, _PIXEL_REPRESENTATION, _PHOTOMETRIC = 0x00280101, 0x00280103, 0x00280004
_JPEG_2000 = frozenset(["j2k", "htj2k"])
# PS3.5 A.4.1: the frame headers (SOF) of each process. Baseline streams are allowed where Extended ones are.
_PROCESSES: dict[str, frozenset[int]] = {
    f"{ROOT}.4.50": frozenset([0xC0]),
    f"{ROOT}.4.51": frozenset([0xC0, 0xC1]),
    f"{ROOT}.4.53": frozenset([0xC2]),
    f"{ROOT}.4.55": frozenset([0xC2]),
    f"{ROOT}.4.57": frozenset([0xC3]),
    f"{ROOT}.4.70": frozenset([0xC3]),
}
_FIRST_ORDER, _RPCL = f"{ROOT}.4.70", f"{ROOT}.4.202"
_PROGRESSION_RPCL, _LOWEST_RESOLUTION = 2, 64
_SUBSAMPLED_422 = ((2, 1), (1, 1), (1, 1))


def findings(syntax: Syntax, stream: Codestream, fmt: PixelFormat) -> Iterator[Finding]:
    """Yield what is wrong with a codestream that does not contradict the size of its image."""
    yield from _bits(stream, fmt)
    yield from _process(syntax, stream)
    if stream.boxed and syntax.family in _JPEG_2000:
        yield Finding("N_BOXED", "the codestream is in a JP2 file, of which only the codestream belongs here",
                      Severity.WARNING)  # fmt: skip
    if stream.kind == "jpeg" and fmt.photometric == "YBR_FULL_422" and not stream.lossless_process:
        yield from _sampling(stream)


def _bits(stream: Codestream, fmt: PixelFormat) -> Iterator[Finding]:
    # RLE and JPEG XL code whole words; JPEG has no precision of 1 bit.
    exact = stream.kind in ("jpegls", "j2k", "htj2k") or (stream.kind == "jpeg" and fmt.stored > 1)
    if exact and stream.precision != fmt.stored:
        yield Finding(
            "N_PRECISION",
            f"the codestream has {stream.precision} bits a sample, Bits Stored (0028,0101) is {fmt.stored}",
            Severity.WARNING,
            tag=_BITS_STORED,
        )
    if stream.signed is not None and stream.signed != fmt.signed and stream.kind in _JPEG_2000:
        sign, said = ("signed", 0) if stream.signed else ("unsigned", 1)
        yield Finding(
            "N_SIGN",
            f"the codestream is {sign}, Pixel Representation (0028,0103) is {said}; readers believe one or the other",
            Severity.ERROR,
            tag=_PIXEL_REPRESENTATION,
        )


def _process(syntax: Syntax, stream: Codestream) -> Iterator[Finding]:
    """Yield what the transfer syntax does not allow its codestreams."""
    if syntax.loss is Loss.LOSSLESS and not stream.reversible:
        yield Finding(
            "N_NOT_LOSSLESS",
            f"the codestream is lossy, which {syntax.name} is not ({_how_lossy(stream)})",
            Severity.ERROR,
        )
    allowed = _PROCESSES.get(syntax.uid)
    if allowed is not None and stream.kind == "jpeg" and stream.process not in allowed:
        yield Finding(
            "N_PROCESS",
            f"the codestream is of another process of JPEG (SOF{stream.process - 0xC0}) than the transfer syntax says",
            Severity.WARNING,
        )
    elif syntax.uid == _FIRST_ORDER and stream.kind == "jpeg" and stream.predictor != 1:
        yield Finding(
            "N_PROCESS",
            f"the codestream has predictor {stream.predictor}, the transfer syntax says 1",
            Severity.WARNING,
        )
    if syntax.uid == _RPCL and stream.kind == "htj2k":
        missing = [what for what, wrong in _rpcl_options(stream) if wrong]
        if missing:
            yield Finding(
                "N_RPCL", f"the codestream has not what the transfer syntax promises: {', '.join(missing)}",
                Severity.WARNING,
            )  # fmt: skip


def _how_lossy(stream: Codestream) -> str:
    if stream.kind == "jpegls":
        return f"NEAR {stream.near}"
    if stream.kind == "jpeg":
        return f"point transform {stream.near}" if stream.lossless_process else "discrete cosine transform"
    return "XYB colours" if stream.kind == "jpegxl" else "irreversible wavelet"


def _rpcl_options(stream: Codestream) -> Iterator[tuple[str, bool]]:
    """Yield what .202 promises, and whether it is missing (PS3.5 10.18)."""
    yield "progression RPCL", stream.progression != _PROGRESSION_RPCL
    yield "tile-part lengths (TLM)", not stream.tile_lengths
    lowest = max(-(-side >> stream.levels) for side in (stream.rows, stream.columns))
    yield f"a lowest resolution of at most {_LOWEST_RESOLUTION}", lowest > _LOWEST_RESOLUTION


def _sampling(stream: Codestream) -> Iterator[Finding]:
    if stream.transform is not Transform.NONE and stream.sampling != _SUBSAMPLED_422:
        shape = ", ".join(f"{across}x{down}" for across, down in stream.sampling)
        yield Finding(
            "N_SAMPLING",
            f"Photometric Interpretation is YBR_FULL_422, the codestream is sampled {shape}, which decoders heed",
            tag=_PHOTOMETRIC,
        )
