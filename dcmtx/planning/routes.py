"""The routes of pixels. `transcoding.routes` has what each does to a frame."""

from __future__ import annotations

from enum import Enum


class Route(Enum):
    """How the pixels of a file are processed."""

    NONE = "no pixels"
    SKIP = "skipped"
    CARRY = "carry"  # native cells stay as they are
    REWRAP = "rewrap"  # codestreams stay as they are, in new fragments
    RECOMPRESS = "recompress"  # JPEG streams into JPEG XL or out of it, bit for bit
    RECODE = "recode"

    def describe(self) -> str:
        """Return the route in a few words."""
        return _DESCRIPTIONS[self]

    @property
    def shows_pixels(self) -> bool:
        """Whether the route sees decoded pixels, which a digest needs."""
        return self in (Route.RECODE, Route.CARRY)

    @property
    def is_bulk(self) -> bool:
        """Whether pixels are copied in bulk, not frame by frame."""
        return self is Route.CARRY


_DESCRIPTIONS = {
    Route.NONE: "no pixels: the data set is encoded anew",
    Route.SKIP: "skip",
    Route.CARRY: "carry: native pixels stay what they are",
    Route.REWRAP: "rewrap: codestreams stay what they are, in new fragments",
    Route.RECOMPRESS: "recompress: JPEG streams stay what they are, bit for bit",
    Route.RECODE: "recode",
}
