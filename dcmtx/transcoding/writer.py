"""The file that a plan makes of a source: File Meta Information, data set, pixels, and what stands behind them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from dcmtx.dataset.edit import Append, Edit, Piece, Remove, Replace, Slot, Span, Within, splice
from dcmtx.dataset.element import UNDEFINED, Element, element_header, swap
from dcmtx.dataset.meta import file_meta
from dcmtx.dataset.vr import SWAP_UNIT
from dcmtx.errors import InputError, OutputError
from dcmtx.pixel.encapsulation import Layout
from dcmtx.place.atomic import Sink
from dcmtx.planning.plan import Plan, Route
from dcmtx.transcoding.engine import MEMORY, run
from dcmtx.transcoding.frame import EncodedFrame, Frame, FrameCoder, Recompressor, Rewrapper, frame_memory
from dcmtx.transcoding.frames import Frames
from dcmtx.transcoding.inside import context_of, may_hold_items, rewritten
from dcmtx.transcoding.source import DataSet
from dcmtx.transcoding.tally import Written, _Digest, _Tally

if TYPE_CHECKING:
    from dcmtx.dataset.encoding import Rewriting
    from dcmtx.pixel.bits import BitPacker

_PIECE = 1 << 20
# Decibels below which what was lost is worth a word, though it was asked for.
_POOR = 40


class Writer:
    """Writes one file. `write` goes through it from front to back; the frames are never held together."""

    def __init__(
        self,
        dataset: DataSet,
        frames: Frames,
        plan: Plan,
        sink: Sink,
        most: int,
        cores: Callable[[], int],
        *,
        memory: int = MEMORY,
        digest: bool = False,
        watch: Callable[[int, int], None] | None = None,
    ) -> None:
        self._dataset = dataset
        self._frames = frames.in_words(plan.word_bytes)
        self._plan = plan
        self._sink = sink
        self._cores = (most, cores)
        self._memory = memory
        self._encoding = plan.syntax.encoding
        self._slots: dict[str, list[tuple[int, int]]] = {}
        self._watch = watch
        self._tally = _Tally()
        self._digest = _Digest() if digest else None
        self._overlays: list[tuple[int, BitPacker]] = []

    def write(self) -> Written:
        """Write everything. Raises whatever the frames or the destination give reason for."""
        dataset, plan = self._dataset, self._plan
        self._sink.write(file_meta(dataset.meta, dataset.header, plan.syntax, plan.instance))
        if plan.syntax.deflated:
            self._sink.deflate()
        header = dataset.header
        last = plan.pixel_tag if header.pixel is not None else UNDEFINED
        before = {tag: edit for tag, edit in plan.edits.items() if tag < last}
        # In a file in disorder, what goes before the pixels may stand behind them; there it is changed where it is.
        behind = {tag: edit for tag, edit in plan.edits.items() if tag > last or isinstance(edit, Remove | Within)}
        self._write_elements(header.elements, before)
        if header.pixel is not None:
            self._write_pixels()
        self._write_elements(header.tail, behind)
        # Where only codestreams passed, or nothing, decoded pixels were not seen.
        seen = self._digest is not None and plan.route in (Route.RECODE, Route.CARRY) and plan.order_known
        return self._account().replace(digest=self._digest.hexdigest() if self._digest and seen else None)

    # --- elements --------------------------------------------------------------------------------------------

    def _write_elements(self, elements: list[Element], edits: dict[int, Edit]) -> None:
        for piece in self._pieces(elements, edits):
            if isinstance(piece, Span):
                for data in self._dataset.pieces(piece):
                    self._sink.write(data)
            elif isinstance(piece, Slot):
                self._sink.write(piece.before)
                self._slots.setdefault(piece.key, []).append((self._sink.bytes, piece.width))
                self._sink.write(bytes(piece.width))
            else:
                self._sink.write(piece)

    def _pieces(self, elements: list[Element], edits: dict[int, Edit]) -> Iterator[Piece]:
        header = self._dataset.header
        resolved = self._resolve(elements, edits)
        if header.encoding == self._encoding:
            return splice(elements, resolved, self._encoding)
        from dcmtx.dataset.encoding import transcribe

        return transcribe(header.reader, elements, resolved, header.encoding, self._encoding, context_of(header))

    def _resolve(self, elements: Iterable[Element], edits: dict[int, Edit]) -> dict[int, Edit]:
        """Return the edits with those that go inside sequences carried out: whole sequences, new."""
        resolved: dict[int, Edit] = {tag: edit for tag, edit in edits.items() if not isinstance(edit, Append | Within)}
        sequences: dict[int, Rewriting] = {}
        for element in elements:
            edit = edits.get(element.tag)
            if element.tag in resolved or not isinstance(edit, Append | Within):
                continue
            if element.vr == b"UN" or may_hold_items(self._dataset, element):
                new = self._rewritten(element, edit)
                if new is not None:
                    sequences[element.tag] = new
                    resolved[element.tag] = Replace(element.tag, new)
        for tag, edit in edits.items():
            if isinstance(edit, Append):
                from dcmtx.dataset.encoding import append_item

                old = sequences.get(tag)
                resolved[tag] = Replace(tag, append_item(old.whole() if old else b"", tag, edit.item))
        return resolved

    def _rewritten(self, element: Element, edit: Append | Within) -> Rewriting | None:
        """Return a sequence as it must be written, or None if it stays what it is."""
        new = rewritten(self._dataset, element, edit.changes, self._encoding)
        if new is None or isinstance(edit, Append):
            return new
        if element.vr == b"UN":
            return new if new.changed else None
        same = self._dataset.header.encoding == self._encoding
        unchanged = same and not edit.changes and new.size == element.end - element.start
        return None if unchanged else new

    # --- pixels ----------------------------------------------------------------------------------------------

    def _write_pixels(self) -> None:
        self._reserve_overlays()
        if self._plan.route is Route.CARRY:
            self._carry()
        elif self._plan.syntax.encapsulated:
            self._encapsulate()
        else:
            self._write_native()
        for offset, packer in self._overlays:
            self._sink.patch(offset, packer.flush())

    def _coded(self) -> Iterator[EncodedFrame]:
        """Yield the frames as the target holds them, in order, and account for them."""
        plan = self._plan
        assert plan.target_format is not None
        work = self._work()
        frames = plan.target_format.frames
        size = frame_memory(plan, self._frames)
        window = run(
            work, frames, *self._cores,
            locked=self._holds_lock(), memory=self._memory, frame_bytes=size, warm=work.warm,
        )  # fmt: skip
        # What was written is let go before the next is asked for, here and by whoever goes through these frames: else
        # there would be one more than memory is allowed for.
        for coded in window:
            self._tally.add(coded)
            if self._watch is not None:
                self._watch(self._tally.frames, frames)
            if self._digest is not None and coded.words is not None:
                self._digest.add(coded.words, one_bit=plan.target_format.allocated == 1)
            for index, plane in enumerate(coded.overlays):
                self._write_overlay(index, plane)
            yield coded
            del coded

    def _work(self) -> Rewrapper | Recompressor | FrameCoder:
        """Return what is done to one frame."""
        if self._plan.route is Route.REWRAP:
            return Rewrapper(self._plan, self._frames)
        if self._plan.route is Route.RECOMPRESS:
            return Recompressor(self._plan, self._frames)
        return FrameCoder(self._plan, self._frames, keep_words=self._digest is not None)

    def _holds_lock(self) -> bool:
        """Tell whether a backend keeps the interpreter to itself while it codes, so that threads would wait in turn."""
        rows = (self._plan.decoder, self._plan.encoder, self._plan.verifier)
        return any(row is not None and not row.frees_lock for row in rows)

    def _reserve_overlays(self) -> None:
        """Remember where the data of each overlay goes."""
        if self._plan.overlays:
            from dcmtx.pixel.bits import BitPacker

            self._overlays = [(self._slots[overlay.key][0][0], BitPacker()) for overlay in self._plan.overlays]

    def _write_overlay(self, index: int, plane: Frame) -> None:
        offset, packer = self._overlays[index]
        data = packer.pack(plane)
        self._sink.patch(offset, data)
        self._overlays[index] = (offset + len(data), packer)

    def _encapsulate(self) -> None:
        """Write fragments, one per frame, and fill the offset table afterwards (PS3.5 A.4)."""
        plan, sink = self._plan, self._sink
        assert plan.target_format is not None
        layout = Layout(plan.table, plan.target_format.frames)
        sink.write(element_header(plan.pixel_tag, plan.pixel_vr, UNDEFINED, self._encoding))
        self._slots["basic"] = [(sink.bytes + 8, 0)]
        sink.write(layout.header())
        for coded in self._coded():
            item, pad = layout.item(len(coded.data))
            sink.write(item)
            sink.write(coded.data)
            if pad:
                sink.write(pad)
            del coded
        sink.write(layout.trailer())
        for key, value in layout.tables().items():
            sink.patch(self._slots[key][0][0], value)

    def _write_native(self) -> None:
        """Write decoded frames as native cells (PS3.5 8.1.1)."""
        plan = self._plan
        fmt = plan.target_format
        assert fmt is not None
        unit = SWAP_UNIT.get(plan.pixel_vr, 1) if self._encoding.big_endian else 1
        length = fmt.native_bytes
        self._pixel_header(length)
        written = 0
        for data in self._packed() if fmt.allocated == 1 else self._unpacked():
            self._sink.write(swap(bytes(data), unit) if unit > 1 else data)
            written += len(data)
            del data
        if written != length:
            raise InputError(f"the frames have {written} bytes instead of {length}", code="E_TRUNCATED")
        self._sink.write(bytes(length % 2))

    def _unpacked(self) -> Iterator[Frame]:
        """Yield frames as they are."""
        for coded in self._coded():
            data = coded.data
            del coded
            yield data
            del data

    def _packed(self) -> Iterator[bytes]:
        """Yield frames of 1-bit pixels packed so that they run on across frames."""
        from dcmtx.pixel.bits import BitPacker

        packer = BitPacker()
        for coded in self._coded():
            yield packer.pack(coded.data)
            del coded
        yield packer.flush()

    def _carry(self) -> None:
        """Write native cells that stay what they are, swapped where the byte order changes."""
        plan, held = self._plan, self._frames
        pixel = held.pixel
        assert pixel is not None
        length = plan.target_format.native_bytes if plan.target_format else pixel.length
        unit = SWAP_UNIT.get(plan.pixel_vr, 1) if self._encoding.big_endian else 1
        if self._encoding.big_endian and held.big_endian:
            unit = held.swap_unit
        self._pixel_header(length)
        fmt = plan.source_format
        by_plane = fmt is not None and fmt.planar == 1
        if self._digest is not None and fmt is not None and by_plane:
            from dcmtx.codec.native import decode

            for number in range(fmt.frames):
                self._digest.add(decode(held.frame(number), fmt, fmt), one_bit=False)
        frames = 0 if fmt is None else fmt.frames
        for offset in range(0, length, _PIECE):
            if self._watch is not None and frames > 1:
                self._watch(offset * frames // length, frames)
            data = held.native_bytes(offset, min(_PIECE, length - offset))
            if self._digest is not None and not by_plane:
                self._digest.add_bytes(data)
            last = offset + _PIECE >= length
            data += bytes(length % 2) if last else b""
            self._sink.write(swap(data, unit))

    def _pixel_header(self, length: int) -> None:
        even = length + length % 2
        if even >= UNDEFINED:
            raise OutputError(f"{even} bytes of native pixels do not fit a 32-bit length")
        if not self._plan.syntax.deflated:
            self._sink.need(even)
        self._sink.write(element_header(self._plan.pixel_tag, self._plan.pixel_vr, even, self._encoding))

    # --- what is known at the end ----------------------------------------------------------------------------

    def _account(self) -> Written:
        """Fill the places reserved for ratio and extremes, and say what the pixels have become."""
        plan, tally = self._plan, self._tally
        fmt = plan.target_format
        if fmt is None or plan.route is not Route.RECODE or not plan.syntax.encapsulated:
            return Written()
        if plan.decoded_format is not None:
            # What the source stored is what is compressed, though the codec may have been given more bits for it.
            fmt = fmt.replace(stored=min(fmt.stored, plan.decoded_format.stored))
        ratio = fmt.stored_bytes / max(tally.coded_bytes, 1)
        if not plan.irreversible:
            return Written(ratio, notes=self._cleared_notes())
        from dcmtx.rules.lossy import ratio_text

        self._fill("ratio", ratio_text(fmt.stored_bytes, tally.coded_bytes).encode("ascii"), b" ")
        for key, value in (("smallest", tally.smallest), ("largest", tally.largest)):
            if key in self._slots:
                self._fill(key, value.to_bytes(2, "little", signed=fmt.signed), b"\0")
        psnr = tally.psnr(fmt.pixels * fmt.samples * fmt.frames, fmt.stored)
        needless = plan.exact is not None and tally.spare <= tally.coded_bytes
        notes = self._loss_notes(ratio, psnr) + self._cleared_notes()
        return Written(ratio, psnr, needless=needless, notes=notes)

    def _fill(self, key: str, value: bytes, pad: bytes) -> None:
        for offset, width in self._slots.get(key, []):
            self._sink.patch(offset, value.ljust(width, pad))

    def _cleared_notes(self) -> tuple[str, ...]:
        count = self._tally.cleared
        return (f"cleared what stood outside Bits Stored, in {count} word{'s' * (count != 1)}",) if count else ()

    def _loss_notes(self, ratio: float, psnr: float | None) -> tuple[str, ...]:
        notes: tuple[str, ...] = ()
        tally, fmt = self._tally, self._plan.target_format
        if psnr is not None and math.isinf(psnr):
            notes = (f"lossy: ratio {ratio:.4g}, nothing was lost; called lossy all the same, as its coding is",)
        elif psnr is not None:
            notes = (f"lossy: ratio {ratio:.4g}, PSNR {psnr:.1f} dB, largest error {tally.worst}",)
        if tally.exact and fmt is not None:
            notes += (f"{tally.exact} of {fmt.frames} frames are coded without loss, which takes no more bytes",)
        asked, wanted = self._plan.quality.ratio, self._plan.quality.psnr
        if wanted is not None and psnr is not None and psnr < wanted - 1:
            notes += (f"the PSNR is {psnr:.1f} dB, not the {wanted:g} asked for: these pixels do not give it",)
        if asked is not None and abs(ratio / asked - 1) > 0.1:
            notes += (f"the ratio is {ratio:.4g}, not the {asked:g} asked for: these pixels do not give it",)
        if psnr is not None and psnr < _POOR and (asked or wanted):
            notes += (f"the PSNR is below {_POOR:g} dB, where loss may be seen",)
        return notes
