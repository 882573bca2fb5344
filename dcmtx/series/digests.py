"""The digest of a data set: SHA-256 of its elements in Explicit VR Little Endian, without group lengths and padding."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from dcmtx.dataset.element import PIXEL_DATA, element_header
from dcmtx.syntax import EXPLICIT_LITTLE


def digest(header: Mapping[int, bytes], vr: bytes, cells: bytes) -> bytes:
    """Return the digest of a data set: its elements but for the pixels, the VR of Pixel Data, its native cells."""
    odd = len(cells) % 2
    found = sha256()
    tags = sorted(header)
    found.update(b"".join([header[tag] for tag in tags if tag < PIXEL_DATA]))
    found.update(element_header(PIXEL_DATA, vr, len(cells) + odd, EXPLICIT_LITTLE))
    found.update(cells)
    found.update(bytes(odd) + b"".join([header[tag] for tag in tags if tag > PIXEL_DATA]))
    return found.digest()
