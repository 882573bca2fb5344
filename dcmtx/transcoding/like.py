"""The syntax and the offset table of a file that others are to be like."""

from __future__ import annotations

from contextlib import closing

from dcmtx.errors import DcmtxError
from dcmtx.place.places import open_reader
from dcmtx.policy import OffsetTable
from dcmtx.record import Record
from dcmtx.transcoding.fragments import OFFSETS
from dcmtx.transcoding.source import open_source


class Likeness(Record):
    """What others take over: the UID of the transfer syntax, and which offset table there is (PS3.5 A.4)."""

    uid: str
    offset_table: OffsetTable


def likeness(path: str) -> Likeness:
    """Return the likeness of a file; no pixel is read. Native pixels have no table: AUTO.

    Raises what `open_source` raises, with the path.
    """
    try:
        with closing(open_reader(path)) as reader, closing(open_source(reader)) as opened:
            table = OffsetTable.AUTO
            fragments = opened.frames.fragments
            if fragments is not None:
                table = OffsetTable.BASIC if len(fragments.table) else OffsetTable.EMPTY
                if OFFSETS in opened.dataset.header:
                    table = OffsetTable.EXTENDED
            return Likeness(opened.dataset.syntax.uid, table)
    except DcmtxError as error:
        error.path = error.path or path
        raise
