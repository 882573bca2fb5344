"""The headers of JPEG (T.81 B.2) and JPEG-LS (T.87 C.2)."""

from __future__ import annotations

import struct

from dcmtx.errors import InputError
from dcmtx.pixel.codestream.header import LOSSLESS_SOF, Codestream, Transform, short

_SOF = frozenset([0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7])


def read(data: bytes) -> Codestream:
    """Walk the markers up to the first scan (T.81 B.2; T.87 C.2)."""
    position, frame, adobe, transformed, jfif = 2, None, None, False, False
    while True:
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        if len(data) < position + 4 or data[position] != 0xFF:
            raise short("JPEG")
        marker = data[position + 1]
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        segment = data[position + 4 : position + 2 + length]
        if len(segment) < length - 2:
            raise short("JPEG")
        if marker in _SOF:
            frame = _frame_header(marker, segment)
        elif marker == 0xEE and segment[:5] == b"Adobe" and len(segment) >= 12:
            adobe = segment[11]
        elif marker == 0xE0 and segment[:5] == b"JFIF\0":
            jfif = True
        elif marker == 0xE8 and segment[:4] == b"mrfx" and len(segment) >= 5:
            transformed = segment[4] != 0
        elif marker == 0xDA:
            break
        position += 2 + length
    if frame is None:
        raise InputError("the JPEG codestream has a scan but no frame header; it is damaged", code="E_CODESTREAM")
    if transformed:
        raise InputError(
            "the JPEG-LS codestream uses a colour transform of Hewlett-Packard's, which the standard does not have; "
            "no decoder here undoes it",
            code="E_CODESTREAM",
        )
    return _with_scan(frame.replace(jfif=jfif, body=position), segment, adobe, len(data))


def _frame_header(marker: int, segment: bytes) -> Codestream:
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise short("JPEG")
    precision, rows, columns, components = struct.unpack_from(">BHHB", segment)
    entries = [segment[6 + 3 * number : 9 + 3 * number] for number in range(components)]
    return Codestream(
        "jpegls" if marker == 0xF7 else "jpeg",
        rows, columns, components=components, precision=precision,
        reversible=marker in LOSSLESS_SOF,
        process=marker,
        sampling=tuple((entry[1] >> 4, entry[1] & 15) for entry in entries),
        ids=bytes(entry[0] for entry in entries),
    )  # fmt: skip


def _with_scan(frame: Codestream, scan: bytes, adobe: int | None, end: int) -> Codestream:
    """Add the values from the header of the first scan and the Adobe marker."""
    count = scan[0] if scan else 0
    if len(scan) < 4 + 2 * count:
        raise short("JPEG")
    first, second, last = scan[1 + 2 * count : 4 + 2 * count]
    frame = frame.replace(scanned=count)
    if frame.kind == "jpegls":
        return frame.replace(near=first, interleave=second, reversible=first == 0, end=end)
    transform = Transform.UNSAID
    if frame.components == 3:
        if adobe is not None:
            transform = Transform.YCC if adobe == 1 else Transform.NONE
        elif frame.ids.upper() == b"RGB":
            transform = Transform.NONE
    if frame.reversible:
        # Lossless JPEG: the predictor is in the field of the start of spectral selection (T.81 H.1).
        point = last & 15
        return frame.replace(predictor=first, near=point, reversible=point == 0, transform=transform, end=end)
    return frame.replace(transform=transform, end=end)
