"""What the header of a codestream says, whatever its family, and what the readers of all families need."""

from __future__ import annotations

from enum import Enum

from dcmtx.errors import InputError
from dcmtx.record import Record

# SOF of the processes of JPEG that predict, and of JPEG-LS (T.81 B.2.2, T.87 C.2.2).
LOSSLESS_SOF = frozenset([0xC3, 0xC7, 0xCB, 0xCF, 0xF7])


class Transform(Enum):
    """What the stream itself says of its colour."""

    UNSAID = "unsaid"  # JPEG without a marker: the Photometric Interpretation decides
    NONE = "none"  # components are coded as they are
    YCC = "ycc"  # JPEG: YCbCr by Adobe marker
    RCT = "rct"  # JPEG 2000: reversible component transform
    ICT = "ict"  # JPEG 2000: irreversible component transform


class Codestream(Record):
    """What the header of one codestream says.

    `precision` is bits per sample; `signed` is None where the coding has no sign; `process` is the SOF number of
    JPEG (0xF7 for JPEG-LS); `sampling` has (horizontal, vertical) factors per component; `ids` the component ids;
    `near` is NEAR of JPEG-LS or the point transform of lossless JPEG; `jfif` is whether JPEG calls itself JFIF;
    `scanned` counts the components of its first scan. `start` and `end` bound the raw codestream within the bytes
    given, so that JP2 boxes and what stands behind it can be left out; `body` is where its main header ends.
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
        """Whether this is JPEG of a process that predicts, whose components no transform has touched (T.81 H)."""
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
