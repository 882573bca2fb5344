"""The Plan record: how one file is converted."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dcmtx.codec.judges import NOBODY, Judges
from dcmtx.codec.row import Row
from dcmtx.dataset.edit import Edit
from dcmtx.dataset.element import PIXEL_DATA
from dcmtx.finding import Finding
from dcmtx.pixel.codestream import Transform
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning.routes import Route
from dcmtx.planning.steps import Step
from dcmtx.policy import Cut, EncodingParameters, Lengths, OffsetTable, UnusedBits
from dcmtx.record import Record
from dcmtx.rules import overlay
from dcmtx.syntax import Syntax

if TYPE_CHECKING:
    from dcmtx.pixel.palette import Palette


class Detail(Record):
    """One change apart from the edits of a plan: inside the sequences of `path`, or at top level.

    `text` says what happens to the element; where `tag` is 0, it describes the whole data set.
    """

    path: tuple[int, ...]
    tag: int
    text: str


class Plan(Record):
    """How one file is converted.

    `source_format` is the format of the source, `decoded_format` that of its decoded words, `encoder_format` that of
    the encoder's input, `target_format` that of the written file; `pixel_vr` is the VR of its pixel element. Rows are
    None where nothing is coded; `judges` verify what is; `second` decodes too, to be compared. `unused_bits` says what
    happens to words with content outside Bits Stored; None means that the target holds whole words. `overlays` are
    extracted from the pixels. `irreversible` says that this conversion is lossy, `lost` that the source already is;
    `exact` is the encoder for frames that loss would not make smaller. `transform` is that of the first codestream,
    which all must share. `trim` drops what stands behind codestreams that are wrapped anew. `word_bytes` is the word
    size of a big endian source where its VR does not tell; `order_known` is False where it is unknown and not needed.
    `steps` are applied to every frame, in order. `palette` is applied to the words, which then are RGB; `inverts` says
    that MONOCHROME1 and MONOCHROME2 change places, `shares` that each two pixels get the mean of their chroma.
    `derived` says in words how the meaning of pixels changed, or is empty. `fragment_size` is the most bytes of a
    fragment, None for one fragment per frame. `file_meta` is everything before the data set. `edits` are keyed by tag;
    those inside sequences are Within. `instance` is a new SOP Instance UID. `details` are the resulting changes in the
    data set; a dry run fills them in. `cut` is the part of the image that is written; formats of the source have its
    frames, and all rows and columns.
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
    judges: Judges = NOBODY
    second: Row | None = None
    unused_bits: UnusedBits | None = None
    overlays: tuple[overlay.Embedded, ...] = ()
    palette: Palette | None = None
    inverts: bool = False
    shares: bool = False
    derived: str = ""
    parameters: EncodingParameters = EncodingParameters()
    irreversible: bool = False
    lost: bool = False
    exact: Row | None = None
    transform: Transform | None = None
    trim: bool = False
    word_bytes: int | None = None
    order_known: bool = True
    steps: tuple[Step, ...] = ()
    table: OffsetTable = OffsetTable.EMPTY
    fragment_size: int | None = None
    file_meta: bytes = b""
    edits: Mapping[int, Edit] = MappingProxyType({})
    instance: str | None = None
    notes: tuple[Finding, ...] = ()
    details: tuple[Detail, ...] = ()
    lengths: Lengths = Lengths.KEEP
    tallies: tuple[Any, ...] = ()
    cut: Cut | None = None
