"""Writes the planned file: File Meta Information, data set, pixels, and what follows them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from dcmtx.dataset.edit import Edit, Remove, Slot, Span, Within
from dcmtx.dataset.element import UNDEFINED, Element
from dcmtx.planning.plan import Plan
from dcmtx.planning.routes import Route
from dcmtx.transcoding.elements import edited
from dcmtx.transcoding.frames import Frames
from dcmtx.transcoding.pixels import PixelWriter, Slots, Window
from dcmtx.transcoding.source import DataSet
from dcmtx.transcoding.tally import Digests, Tally, Written, cleared_notes, loss_notes

if TYPE_CHECKING:
    from dcmtx.place.deflate import Deflating
    from dcmtx.place.sink import Sink


class Writer:
    """Writes one file. `write` works from front to back, and patches in values that are known only later.

    `window` limits the frames in progress; with `digest`, decoded pixels are hashed; `watch` is called with the number
    of frames written and their total.
    """

    _pixel_writer: type[PixelWriter] = PixelWriter

    def __init__(
        self,
        dataset: DataSet,
        frames: Frames,
        plan: Plan,
        sink: Sink,
        *,
        window: Window,
        digest: bool = False,
        watch: Callable[[int, int], None] | None = None,
    ) -> None:
        self._dataset = dataset
        self._plan = plan
        self._file_sink = sink
        self._sink: Sink | Deflating = sink
        self._slots: Slots = {}
        self._tally = Tally()
        self._digest = Digests() if digest else None
        self._frames = frames
        self._window = window
        self._watch = watch

    def write(self) -> Written:
        """Write everything. Raises the errors of the frames and of the destination."""
        header, plan = self._dataset.header, self._plan
        self._sink.write(plan.file_meta)
        deflating = self._deflate() if plan.syntax.deflated else None
        last = plan.pixel_tag if header.pixel is not None else UNDEFINED
        before = {tag: edit for tag, edit in plan.edits.items() if tag < last}
        # In a file in disorder, elements that belong before the pixels may follow them; they are edited in place.
        behind = {tag: edit for tag, edit in plan.edits.items() if tag > last or isinstance(edit, Remove | Within)}
        self._write_elements(header.elements, before)
        if header.pixel is not None:
            self._pixel_writer(
                self._frames, plan, self._sink, slots=self._slots, window=self._window, tally=self._tally,
                digest=self._digest, watch=self._watch,
            ).write()  # fmt: skip
        self._write_elements(header.tail, behind)
        if deflating is not None:
            deflating.finish()
        # Routes that copy codestreams, or have no pixels, do not see decoded pixels.
        seen = self._digest is not None and plan.route.shows_pixels and plan.order_known
        written = self._account()
        if self._digest is None or not seen:
            return written
        source, target = self._digest.hexdigests()
        lost = plan.irreversible and written.psnr != math.inf
        # Of a part, what was read is not all of the source's pixels.
        whole = plan.cut is None
        return written.replace(digest=source if whole else None, digest_out=None if lost else target)

    def _deflate(self) -> Deflating:
        """Deflate everything that follows."""
        from dcmtx.place.deflate import Deflating

        self._sink = deflating = Deflating(self._file_sink)
        return deflating

    def _write_elements(self, elements: list[Element], edits: dict[int, Edit]) -> None:
        plan = self._plan
        for piece in edited(self._dataset, elements, edits, plan.syntax.encoding, lengths=plan.lengths):
            if isinstance(piece, Span):
                for data in self._dataset.pieces(piece):
                    self._sink.write(data)
            elif isinstance(piece, Slot):
                self._sink.write(piece.before)
                self._slots.setdefault(piece.key, []).append((self._sink.bytes, piece.width))
                self._sink.write(bytes(piece.width))
            else:
                self._sink.write(piece)

    def _account(self) -> Written:
        """Fill the places reserved for ratio and extremes, and return the totals of the pixels."""
        plan, tally = self._plan, self._tally
        fmt = plan.target_format
        if fmt is None or plan.route is not Route.RECODE or not plan.syntax.encapsulated:
            return Written(verified=tally.verified())
        if plan.decoded_format is not None and plan.palette is None:
            # The ratio counts the bits that the source stored, even if the codec was given more.
            fmt = fmt.replace(stored=min(fmt.stored, plan.decoded_format.stored))
        ratio = fmt.stored_bytes / max(tally.coded_bytes, 1)
        if not plan.irreversible:
            return Written(ratio, verified=tally.verified(), notes=cleared_notes(tally))
        from dcmtx.rules.lossy import ratio_text

        self._fill("ratio", ratio_text(fmt.stored_bytes, tally.coded_bytes).encode("ascii"), b" ")
        for key, value in (("smallest", tally.smallest), ("largest", tally.largest)):
            if key in self._slots:
                self._fill(key, value.to_bytes(2, "little", signed=fmt.signed), b"\0")
        psnr = tally.psnr(fmt.pixels * fmt.samples * fmt.frames, fmt.stored)
        needless = plan.exact is not None and tally.spare <= tally.coded_bytes
        notes = loss_notes(plan, tally, ratio, psnr) + cleared_notes(tally)
        return Written(ratio, psnr, verified=tally.verified(), needless=needless, notes=notes)

    def _fill(self, key: str, value: bytes, pad: bytes) -> None:
        for offset, width in self._slots.get(key, []):
            self._sink.patch(offset, value.ljust(width, pad))
