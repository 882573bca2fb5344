"""What a plan says."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from dcmtx.codec.registry import Row
from dcmtx.dataset.edit import Edit
from dcmtx.dataset.element import PIXEL_DATA
from dcmtx.pixel.codestream import Codestream, Transform
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters, OffsetTable, UnusedBits
from dcmtx.record import Record
from dcmtx.rules import overlay
from dcmtx.syntax import Syntax


class Route(Enum):
    """The way that the pixels take."""

    NONE = "no pixels"
    SKIP = "skipped"
    CARRY = "carry"  # native cells that stay what they are
    REWRAP = "rewrap"  # codestreams that stay what they are, in new fragments
    RECOMPRESS = "recompress"  # JPEG streams into JPEG XL or out of it, bit for bit
    RECODE = "recode"


class Contents(Record):
    """What encapsulated pixels hold, without decoding: the first codestream's header, and the bytes of all of them.

    `lost` is the header of the first codestream that has lost something; `has_lost` is true also where only the data
    set knows of it.
    """

    stream: Codestream | None = None
    coded_bytes: int = 0
    lost: Codestream | None = None
    has_lost: bool = False


class Detail(Record):
    """One thing that changes beside the edits of a plan: inside the sequences of `path`, or at top level.

    `text` says what becomes of the element; where `tag` is 0, it speaks of the whole data set.
    """

    path: tuple[int, ...]
    tag: int
    text: str


class Plan(Record):
    """How one file is converted.

    `source_format` is what the source holds, `decoded_format` the words it decodes to, `encoder_format` what the
    encoder gets, `target_format` what the file written holds; `pixel_vr` is the VR of its pixel element. Rows are
    None where nothing is coded. `unused_bits` says what is done with words that hold something outside Bits Stored;
    None means that the target holds whole words. `overlays` are taken out of the pixels. `irreversible` says that
    something is lost, `lost` that codestreams of the source have lost something; `exact` encodes the frames that
    loss would not make smaller. `transform` is that of the first codestream, which all must share. `word_bytes` is
    how wide the words of a source in big endian are where its VR does not tell; `order_known` is False where nobody
    can tell and nobody needs to. `edits` go by tag; `instance` is a new SOP Instance UID. `details` are what a dry
    run finds out beside the edits.
    """

    syntax: Syntax
    route: Route
    pixel_tag: int = PIXEL_DATA
    pixel_vr: bytes = b"OW"
    source_format: PixelFormat | None = None
    decoded_format: PixelFormat | None = None
    encoder_format: PixelFormat | None = None
    target_format: PixelFormat | None = None
    decoder: Row | None = None
    encoder: Row | None = None
    verifier: Row | None = None
    unused_bits: UnusedBits | None = None
    overlays: tuple[overlay.Embedded, ...] = ()
    quality: EncodingParameters = EncodingParameters()
    irreversible: bool = False
    lost: bool = False
    exact: Row | None = None
    transform: Transform | None = None
    word_bytes: int | None = None
    order_known: bool = True
    table: OffsetTable = OffsetTable.EMPTY
    edits: Mapping[int, Edit] = MappingProxyType({})
    instance: str | None = None
    notes: tuple[str, ...] = ()
    details: tuple[Detail, ...] = ()
