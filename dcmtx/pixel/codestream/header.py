"""The contents of a codestream header, whatever its family, and helpers for the readers of all families."""

from __future__ import annotations

from enum import Enum

from dcmtx.errors import InputError
from dcmtx.record import Record

# SOF of the predictive (lossless) processes of JPEG, and of JPEG-LS (T.81 B.2.2, T.87 C.2.2).
LOSSLESS_SOF = frozenset([0xC3, 0xC7, 0xCB, 0xCF, 0xF7])


class Transform(Enum):
    """The colour transform that the stream itself declares."""

    UNSAID = "unsaid"  # JPEG without a marker: the Photometric Interpretation decides
    NONE = "none"  # components are coded as they are
    YCC = "ycc"  # JPEG: YCbCr by Adobe marker
    RCT = "rct"  # JPEG 2000: reversible component transform
    ICT = "ict"  # JPEG 2000: irreversible component transform


class Codestream(Record):
    """The contents of one codestream header.

    `precision` is bits per sample; `signed` is None if the coding has no sign; `process` is the SOF number of
    JPEG (0xF7 for JPEG-LS); `sampling` has (horizontal, vertical) factors per component; `ids` the component ids;
    `near` is NEAR of JPEG-LS or the point transform of lossless JPEG; `jfif` tells whether JPEG calls itself JFIF;
    `scanned` counts the components of its first scan. `start` and `end` bound the raw codestream within the data,
    without JP2 boxes and trailing bytes; `body` is where its main header ends.
    """

    kind: str
    rows: int
    columns: int
    components: int
    precision: int
    signed: bool | None = None
    reversible: bool = True
    transform: Transform = Transform.UNSAID
    process: int = 0
    sampling: tuple[tuple[int, int], ...] = ()
    ids: bytes = b""
    near: int = 0
    jfif: bool = False
    scanned: int = 0
    predictor: int = 0
    interleave: int = 0
    progression: int = 0
    levels: int = 0
    tile_lengths: bool = False
    tiles: int = 1
    boxed: bool = False
    start: int = 0
    end: int = 0
    body: int = 0

    @property
    def subsampled(self) -> bool:
        """Whether some component has fewer samples than the first."""
        return any(factor != self.sampling[0] for factor in self.sampling)

    @property
    def lossless_process(self) -> bool:
        """Whether this is JPEG of a predictive process, whose components are not transformed (T.81 H)."""
        return self.kind == "jpeg" and self.process in LOSSLESS_SOF


def short(what: str) -> InputError:
    """Return the error of a codestream that is cut off in its header."""
    return InputError(f"the {what} codestream ends inside its header; it is truncated", code="E_TRUNCATED")


def box(data: bytes, wanted: bytes) -> tuple[int, int]:
    """Return where the contents of the first box of this type begin and end (T.800 I.4)."""
    position = 0
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        begin = position + 8
        if length == 1:
            length = int.from_bytes(data[position + 8 : position + 16], "big")
            begin = position + 16
        end = len(data) if length == 0 else position + length
        if data[position + 4 : position + 8] == wanted:
            return begin, min(end, len(data))
        if end <= position:
            break
        position = end
    raise InputError("the JP2 boxes hold no codestream; the pixel data is damaged", code="E_CODESTREAM")
