"""Whether a codestream agrees with the data set around it: what contradicts it is reason not to decode (PS3.5 8.2)."""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.errors import InputError
from dcmtx.pixel.codestream import KINDS, NAMES, Codestream
from dcmtx.pixel.format import PixelFormat
from dcmtx.syntax import Syntax

_JPEG_2000 = frozenset(["j2k", "htj2k"])


def contradictions(syntax: Syntax, stream: Codestream, fmt: PixelFormat) -> Iterator[InputError]:
    """Yield the errors of a codestream that contradicts the data set, the worst first; each is reason not to decode."""
    if stream.kind not in KINDS[syntax.family]:
        yield InputError(
            f"its codestream is {NAMES[stream.kind]}, but the transfer syntax is {syntax.name}", code="E_CODESTREAM"
        )
    size = (stream.rows, stream.columns)
    if size not in ((fmt.rows, fmt.columns), (0, 0)):
        yield _contradicts(f"{size[0]}x{size[1]} pixels", f"{fmt.rows}x{fmt.columns}")
    if stream.components != fmt.samples:
        yield _contradicts(f"{stream.components} components", f"Samples per Pixel {fmt.samples}")
    if syntax.family in _JPEG_2000 and any(factors != (1, 1) for factors in stream.sampling):
        yield InputError(
            "the components of its codestream are subsampled, which the decoders at hand do not give back exactly",
            code="E_CODESTREAM",
        )
    if stream.precision > max(8, fmt.allocated):
        yield _contradicts(f"{stream.precision} bits", f"Bits Allocated {fmt.allocated}")


def _contradicts(stream: str, said: str) -> InputError:
    return InputError(
        f"its codestream has {stream}, the data set says {said}", advice="correct the data set first", code="E_GEOMETRY"
    )
