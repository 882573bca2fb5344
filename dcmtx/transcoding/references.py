"""Rewrites the references in one written file; all other bytes stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING

from dcmtx.dataset.edit import Edit, Piece, Set, Span, Within
from dcmtx.dataset.element import Element, tag_bytes
from dcmtx.dataset.meta import SOP_INSTANCE_UID, peek
from dcmtx.place.bytes import Reader
from dcmtx.place.places import directory_of, open_reader, open_sink
from dcmtx.place.sink import Sink
from dcmtx.planning.edits import check_signatures, signature_edits
from dcmtx.planning.inside import held, is_sequence, may_hold_items
from dcmtx.planning.request import assumed
from dcmtx.policy import Policy, Sync
from dcmtx.rules.references import REFERENCES, Follow
from dcmtx.syntax import IMPLICIT_LITTLE
from dcmtx.transcoding.elements import edited
from dcmtx.transcoding.source import DataSet, Opened, open_source

if TYPE_CHECKING:
    from dcmtx.place.deflate import Deflating


def instance_of(place: object, assume: str | None = None) -> str:
    """Return the SOP Instance UID of a file. Raises InputError or UnsupportedError where it cannot be read."""
    with closing(open_reader(place)) as file, closing(open_source(file, assume=assumed(assume))) as opened:
        return opened.dataset.header.text(SOP_INSTANCE_UID)


def update(path: str, renamed: Mapping[str, str], policy: Policy) -> tuple[int, int]:
    """Have the references in a file follow. `renamed` has the new UIDs by the old.

    Return how many did, and how many bytes the file has then.

    The file is replaced as a whole, or stays. Raises InputError where it cannot be read, RefusedError for digital
    signatures that the policy keeps, OutputError where it cannot be written.
    """
    with closing(open_reader(path)) as file:
        meta = peek(file)
        with closing(open_source(file, directory_of(path), meta=meta)) as opened:
            dataset = opened.dataset
            follow = Follow(renamed, dataset.header.text(SOP_INSTANCE_UID), dataset.encoding)
            edits = _edits(dataset, follow)
            if not edits:
                return 0, file.size
            # Sequences are gone through here; the pieces only yield what that made.
            pieces = edited(dataset, _elements(opened), edits, dataset.encoding)
            if not follow.count:
                return 0, file.size
            signed = signature_edits(dataset.header)
            if signed:
                check_signatures(dataset.header, policy)
                pieces = edited(dataset, _elements(opened), edits | signed, dataset.encoding)
            count = follow.count
            with open_sink(path, sync=policy.sync is not Sync.NONE) as sink:
                _write(file, opened, pieces, sink)
                sink.commit()
            return count, sink.bytes


def _edits(dataset: DataSet, follow: Follow) -> dict[int, Edit]:
    """Return the edits of references at top level, and of sequences whose bytes hold the tag of one."""
    header = dataset.header
    edits: dict[int, Edit] = {}
    for tag in REFERENCES:
        new = follow.followed(header.value(tag)) if tag in header else None
        if new is not None:
            edits[tag] = Set(tag, b"UI", new)
    encodings = {dataset.encoding, IMPLICIT_LITTLE}
    patterns = [tag_bytes(tag, encoding) for tag in REFERENCES for encoding in encodings]
    for element in (*header.elements, *header.tail):
        if element.tag not in edits and _may_refer(dataset, element, patterns):
            edits[element.tag] = Within(element.tag, (follow,))
    return edits


def _may_refer(dataset: DataSet, element: Element, patterns: list[bytes]) -> bool:
    """Tell whether an element is a sequence whose bytes hold one of these tags."""
    if not may_hold_items(dataset, element) or not held(dataset, element, patterns, enough=1):
        return False
    return element.vr != b"UN" or is_sequence(dataset, element)


def _elements(opened: Opened) -> list[Element]:
    """Return all elements in the order of the file, the pixel element among them as it is."""
    header = opened.dataset.header
    pixel = header.pixel
    if pixel is None:
        return [*header.elements, *header.tail]
    fragments = opened.frames.fragments
    end = pixel.value + pixel.length if fragments is None else fragments.end
    return [*header.elements, pixel._replace(end=end), *header.tail]


def _write(file: Reader, opened: Opened, pieces: Iterator[Piece], sink: Sink) -> None:
    """Write what precedes the data set as it is, and then the data set."""
    dataset = opened.dataset
    sink.write(file.pread(dataset.meta.dataset, 0))
    deflating: Deflating | None = None
    if dataset.syntax.deflated:
        from dcmtx.place.deflate import Deflating

        deflating = Deflating(sink)
    for piece in pieces:
        if isinstance(piece, Span):
            for data in dataset.pieces(piece):
                (deflating or sink).write(data)
        elif isinstance(piece, bytes):
            (deflating or sink).write(piece)
    if deflating is not None:
        deflating.finish()
