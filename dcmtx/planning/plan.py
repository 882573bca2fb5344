"""What a plan says."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dcmtx.codec.row import Row
from dcmtx.dataset.edit import Edit
from dcmtx.dataset.element import PIXEL_DATA
from dcmtx.finding import Finding
from dcmtx.pixel.codestream import Transform
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning.routes import Route
from dcmtx.planning.steps import Step
from dcmtx.policy import EncodingParameters, OffsetTable, UnusedBits
from dcmtx.record import Record
from dcmtx.rules import overlay
from dcmtx.syntax import Syntax


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
    can tell and nobody needs to. `steps` are what becomes of every frame, in order. `file_meta` is all that stands
    before the data set; `edits` go by tag, those inside sequences are Within; `instance` is a new SOP Instance UID.
    `details` are what all this comes to in the data set, as a dry run finds it out.
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
    parameters: EncodingParameters = EncodingParameters()
    irreversible: bool = False
    lost: bool = False
    exact: Row | None = None
    transform: Transform | None = None
    word_bytes: int | None = None
    order_known: bool = True
    steps: tuple[Step, ...] = ()
    table: OffsetTable = OffsetTable.EMPTY
    file_meta: bytes = b""
    edits: Mapping[int, Edit] = MappingProxyType({})
    instance: str | None = None
    notes: tuple[Finding, ...] = ()
    details: tuple[Detail, ...] = ()
