"""Makes the icon of an image, and adds it to the plan of its file. Imported only where one is asked for."""

from __future__ import annotations

from typing import Any

from dcmtx.dataset.dictionary import Context
from dcmtx.dataset.edit import Replace
from dcmtx.dataset.element import PIXEL_DATA
from dcmtx.dataset.rewriting import rewrite
from dcmtx.finding import Finding, Severity
from dcmtx.pixel import color
from dcmtx.pixel import icon as small
from dcmtx.pixel.display import shown
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning.edits import check_order
from dcmtx.planning.plan import Plan
from dcmtx.planning.request import Request
from dcmtx.policy import Lengths
from dcmtx.rules import icon, palette
from dcmtx.rules.display import read as read_display
from dcmtx.transcoding.decode import decoded
from dcmtx.transcoding.source import Opened


def with_icon(plan: Plan, opened: Opened, request: Request) -> Plan:
    """Return the plan with an edit that gives the data set an icon of its image, instead of one that is there.

    Raises what decoding the frame raises, and InputError for a palette that is damaged.
    """
    header = opened.dataset.header
    pixel = header.pixel
    if pixel is None:
        return plan
    if pixel.tag != PIXEL_DATA or opened.frames.format is None:
        note = Finding(
            "N_ICON", "no icon was made of it: its pixels are no frames of whole numbers", Severity.WARNING,
            tag=icon.ICON_IMAGE_SEQUENCE,
        )  # fmt: skip
        return plan.replace(notes=(*plan.notes, note))
    words, fmt = decoded(opened, request, icon.frame_of(header, opened.frames.format.frames))
    picture = _picture(opened, words, fmt)
    element = icon.encoded(picture, plan.syntax.encoding)
    if plan.lengths is not Lengths.KEEP:
        encoding = plan.syntax.encoding
        element = rewrite(element, encoding, encoding, Context(), lengths=plan.lengths)
    edits = {**plan.edits, icon.ICON_IMAGE_SEQUENCE: Replace(icon.ICON_IMAGE_SEQUENCE, element)}
    check_order(header, edits)
    return plan.replace(edits=edits)


def _picture(opened: Opened, words: Any, fmt: PixelFormat) -> icon.Picture:
    """Return the icon of decoded words: grey, or in colours by a palette of its own."""
    header = opened.dataset.header
    size = small.size_of(fmt, icon.aspect_of(header))
    if fmt.photometric == "PALETTE COLOR":
        table, _ = palette.read_palette(header)
        words = color.coloured(small.prepared(words, fmt, None), table)
        fmt = fmt.replace(
            samples=3, photometric="RGB", allocated=table.stored, stored=table.stored, high_bit=table.stored - 1
        )
    if fmt.samples == 3:
        values = small.shrunk(small.prepared(words, fmt, None), size)
        pixels, colours = small.indexed(small.rgb(values, fmt))
        return icon.Picture(*size, pixels.tobytes(), colours=colours.tobytes())
    values = small.shrunk(small.prepared(words, fmt, icon.padding_of(header, fmt)), size)
    display = read_display(header, fmt, icon.frame_of(header, fmt.frames))
    return icon.Picture(*size, shown(values, fmt, display).tobytes())
