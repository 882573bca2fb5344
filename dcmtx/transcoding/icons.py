"""Pixels inside sequences, such as icons, which must be valid under the transfer syntax of the file.

Nested Pixel Data is native, or encapsulated in the file's own syntax (PS3.5 A.4). So encapsulated pixels are recoded
when the syntax changes: in the new syntax if it can hold them without loss, otherwise natively. Native pixels stay.
"""

from __future__ import annotations

from dcmtx.dataset.edit import Remove, Set
from dcmtx.dataset.element import PIXEL_DATA, UNDEFINED, element_bytes, element_header, swap
from dcmtx.dataset.header import Header
from dcmtx.dataset.items import Change, Item
from dcmtx.dataset.meta import FileMeta
from dcmtx.dataset.vr import SWAP_UNIT
from dcmtx.errors import DcmtxError, RefusedError, UnsupportedError
from dcmtx.pixel.encapsulation import Layout
from dcmtx.place.bytes import Memory
from dcmtx.planning.inside import InnerChange, RecodeIcons
from dcmtx.planning.plan import Plan
from dcmtx.planning.planner import make
from dcmtx.planning.request import Request, Target
from dcmtx.policy import EncodingParameters, OffsetTable, OneBit, Policy, UnusedBits
from dcmtx.rules.lossy import LOSS_ATTRIBUTES
from dcmtx.syntax import EXPLICIT, Encoding, Syntax
from dcmtx.transcoding.frames import Frames, read_frames
from dcmtx.transcoding.routes import work_of
from dcmtx.transcoding.source import DataSet, Opened, close_header

# There is no File Meta Information inside a sequence.
_NO_META = FileMeta(b"", (), 0, declared=None)
# The policy for icons: they are coded without loss whatever they hold.
_POLICY = Policy(OffsetTable.EMPTY, unused_bits=UnusedBits.REFUSE, one_bit=OneBit.REFUSE, force=True)
_WHOLE_WORDS = _POLICY.replace(unused_bits=UnusedBits.KEEP)


class PixelKeeper:
    """Keeps encapsulated pixels inside items valid when the file changes from one transfer syntax to another."""

    def __init__(self, syntax_in: Syntax, syntax_out: Syntax, encoding: Encoding) -> None:
        self._syntax_in = syntax_in
        self._syntax_out = syntax_out
        self._encoding = encoding

    def __call__(self, item: Item) -> dict[int, bytes]:
        """Return what changes in an item.

        Raises a DcmtxError if its pixels cannot be decoded.
        """
        pixel = item.find(PIXEL_DATA)
        if pixel is None or pixel.length != UNDEFINED:
            return {}
        try:
            try:
                return self._recode(item, _POLICY)
            except RefusedError as error:
                if error.code != "E_UNUSED_BITS":
                    raise
            return self._recode(item, _WHOLE_WORDS)
        except DcmtxError as error:
            raise type(error)(
                f"the icon inside the data set cannot be converted: {error}; use --icon drop", code=error.code
            ) from error

    def _recode(self, item: Item, policy: Policy) -> dict[int, bytes]:
        opened = open_item(item, self._syntax_in)
        plan = self._plan(opened, policy)
        changes: dict[int, bytes] = {}
        for tag, edit in plan.edits.items():
            if tag in LOSS_ATTRIBUTES:
                # Loss is declared in the data set around the icon, not in an Image Pixel Macro (PS3.3 C.7.6.3.1).
                continue
            if isinstance(edit, Set):
                changes[tag] = element_bytes(tag, edit.vr, edit.value, self._encoding)
            elif isinstance(edit, Remove):
                changes[tag] = b""
        assert plan.target_format is not None
        frames = _coded(plan, opened.frames, plan.target_format.frames)
        changes[PIXEL_DATA] = self._encapsulated(frames) if plan.syntax.encapsulated else self._native(plan, frames)
        return changes

    def _plan(self, opened: Opened, policy: Policy) -> Plan:
        if self._syntax_out.encapsulated:
            try:
                return make(opened.dataset, opened.frames, _request(self._syntax_out, policy), inside=False)
            except (RefusedError, UnsupportedError):
                pass
        return make(opened.dataset, opened.frames, _request(EXPLICIT, policy), inside=False)

    def _encapsulated(self, frames: list[bytes]) -> bytes:
        layout = Layout(OffsetTable.EMPTY, len(frames))
        parts: list[bytes | memoryview] = [
            element_header(PIXEL_DATA, b"OB", UNDEFINED, self._encoding),
            layout.header(),
        ]
        for frame in frames:
            parts += layout.items(frame)
        return b"".join([*parts, layout.trailer()])

    def _native(self, plan: Plan, frames: list[bytes]) -> bytes:
        value = b"".join(frames)
        value += b"\0" * (len(value) % 2)
        vr = b"OW" if self._encoding.implicit else plan.pixel_vr
        if self._encoding.big_endian:
            value = swap(value, SWAP_UNIT.get(vr, 1))
        return element_header(PIXEL_DATA, vr, len(value), self._encoding) + value


def _coded(plan: Plan, frames: Frames, count: int) -> list[bytes]:
    """Return the frames of an icon, coded as planned. Raises the error of the first frame that failed."""
    work = work_of(plan, frames)
    try:
        results = work.code(list(range(count)))
    finally:
        work.close()
    coded = []
    for result in results:
        if isinstance(result, DcmtxError):
            raise result
        coded.append(bytes(result.data))
    return coded


def open_item(item: Item, syntax: Syntax) -> Opened:
    """Return an item with pixels as a data set of its own, with its frames, in the transfer syntax of its file."""
    body = Memory(b"".join(item.buffer[part.start : part.end] for part in item.parts))
    header = Header(body, 0, item.encoding)
    fragments, notes = close_header(header, syntax)
    return Opened(DataSet(_NO_META, header, syntax, notes=notes), read_frames(header, syntax, fragments))


def _request(syntax: Syntax, policy: Policy) -> Request:
    return Request(Target(syntax.label, (syntax,)), policy, parameters=EncodingParameters())


def with_coders(changes: tuple[InnerChange, ...], encoding: Encoding) -> tuple[Change, ...]:
    """Return the changes of a plan as functions of an item, in the target's encoding, with codecs for icons."""
    return tuple(
        PixelKeeper(change.source, change.target, encoding) if isinstance(change, RecodeIcons) else change
        for change in changes
    )
