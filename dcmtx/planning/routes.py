"""The ways that pixels take. What each does to a frame, `transcoding.routes` has."""

from __future__ import annotations

from enum import Enum


class Route(Enum):
    """The way that the pixels of a file take."""

    NONE = "no pixels"
    SKIP = "skipped"
    CARRY = "carry"  # native cells that stay what they are
    REWRAP = "rewrap"  # codestreams that stay what they are, in new fragments
    RECOMPRESS = "recompress"  # JPEG streams into JPEG XL or out of it, bit for bit
    RECODE = "recode"

    def describe(self) -> str:
        """Return the route in a few words."""
        return _DESCRIPTIONS[self]

    @property
    def shows_pixels(self) -> bool:
        """Whether decoded pixels are seen on the way, as a digest of them needs."""
        return self in (Route.RECODE, Route.CARRY)

    @property
    def is_bulk(self) -> bool:
        """Whether pixels go in bulk, not frame by frame."""
        return self is Route.CARRY


_DESCRIPTIONS = {
    Route.NONE: "no pixels: the data set is encoded anew",
    Route.SKIP: "skip",
    Route.CARRY: "carry: native pixels stay what they are",
    Route.REWRAP: "rewrap: codestreams stay what they are, in new fragments",
    Route.RECOMPRESS: "recompress: JPEG streams stay what they are, bit for bit",
    Route.RECODE: "recode",
}
