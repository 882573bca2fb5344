"""Decoded words become what the encoder takes: cut, without overlays and unused bits, in other colours and widths."""

from __future__ import annotations

from dcmtx.errors import RefusedError
from dcmtx.planning.plan import Plan
from dcmtx.policy import Cut, UnusedBits
from dcmtx.transcoding.encoded import Frame


class Settler:
    """Does the steps of a plan between decoder and encoder, frame by frame. Safe to call from several threads."""

    def __init__(self, plan: Plan) -> None:
        assert plan.source_format is not None
        assert plan.decoded_format is not None
        assert plan.encoder_format is not None
        self._plan = plan
        self._source_format, self._decoded_format = plan.source_format, plan.decoded_format
        self._encoder_format = plan.encoder_format

    def as_native(self, words: Frame) -> Frame:
        """Return decoded words as native cells hold them: pixels that shared chroma share it again."""
        from dcmtx.pixel import color

        held = self._source_format
        shared = held.subsampled and self._decoded_format.photometric == "YBR_FULL" and held.columns % 2 == 0
        return color.share_422(words) if shared else words

    def cut_out(self, words: Frame) -> Frame:
        """Return the part of a frame that is asked for. A decoder may have left out other rows already."""
        cut = self._plan.cut
        if cut is None:
            return words
        return _cut_out(words, cut, top=0 if self._decoded_format.rows == cut.rows else cut.top)

    def take_overlays(self, words: Frame) -> tuple[Frame, tuple[Frame, ...]]:
        """Return the words without the overlays in their unused bits, and the overlays, one byte per pixel."""
        from dcmtx.pixel import bits

        planes = [overlay.bit for overlay in self._plan.overlays]
        return bits.without_bits(words, planes, self._decoded_format), tuple(
            bits.bit_plane(words, bit) for bit in planes
        )

    def settle(self, words: Frame) -> tuple[Frame, int]:
        """Return the words in the encoder's format, and how many had content outside Bits Stored that was cleared."""
        decoded_format, encoder_format, policy = self._decoded_format, self._encoder_format, self._plan.unused_bits
        cleared = 0
        if policy is not None and policy is not UnusedBits.KEEP:
            words, cleared = self._settle_unused(words, policy)
        words = self._recoloured(words)
        if encoder_format.allocated != decoded_format.allocated:
            words = words.astype(encoder_format.dtype, copy=False)
        if self._plan.irreversible and encoder_format.signed and self._plan.syntax.family == "jpegls":
            self._check_near(words)
        return words, cleared

    def _recoloured(self, words: Frame) -> Frame:
        """Return words in the colour of the encoder's input: by the palette, turned round, or between RGB and YBR."""
        from dcmtx.pixel import bits, color

        plan, decoded_format, given = self._plan, self._decoded_format, self._encoder_format.photometric
        shown = decoded_format.photometric
        if plan.palette is not None:
            words, shown = color.coloured(words, plan.palette), "RGB"
            decoded_format = self._encoder_format
        if plan.inverts:
            words = bits.inverted(words, decoded_format)
        if (shown, given) == ("YBR_FULL", "RGB"):
            words = color.to_rgb(words, decoded_format)
        if (shown, given) == ("RGB", "YBR_FULL"):
            words = color.to_ybr(words, decoded_format)
        return color.with_shared_chroma(words) if plan.shares else words

    def _settle_unused(self, words: Frame, policy: UnusedBits) -> tuple[Frame, int]:
        """Make High Bit legal, and clear or refuse content outside Bits Stored; return words and number changed."""
        from dcmtx.pixel import bits

        decoded_format = self._decoded_format
        cleared = 0
        if decoded_format.high_bit != decoded_format.stored - 1:
            below = bits.below_high_bit(words, decoded_format)
            if below and policy is UnusedBits.REFUSE:
                raise _unused("below the lowest stored bit", "deflated-frames or explicit")
            cleared += below
            words = bits.lower_high_bit(words, decoded_format)
        if bits.has_unused_content(words, decoded_format):
            if policy is UnusedBits.REFUSE:
                widest = 8 if decoded_format.photometric == "YBR_FULL" else 16
                holds = "rle" if decoded_format.allocated <= widest else "deflated-frames"
                raise _unused(f"above Bits Stored ({decoded_format.stored})", f"{holds} or explicit")
            bare = bits.clear_unused(words, decoded_format)
            cleared += int((bare != words).sum())
            words = bare
        return words, cleared

    def _check_near(self, words: Frame) -> None:
        """Raise RefusedError for signed values so near the ends of their range that NEAR could flip the sign."""
        from dcmtx.codec.jpegls import near

        allowed = near(self._plan.parameters, self._encoder_format.stored)
        limit = 1 << (self._encoder_format.stored - 1)
        if words.min() < allowed - limit or words.max() > limit - 1 - allowed:
            raise RefusedError(
                f"signed values within NEAR ({allowed}) of the ends of their range would change sign (PS3.5 8.2.3)",
                advice="use --to jpegls without --lossy",
                code="E_SIGN",
            )


def _cut_out(words: Frame, cut: Cut, top: int) -> Frame:
    """Return the rows from `top` and the columns of a part, in words that lie together: codecs take no others."""
    import numpy as np

    return np.ascontiguousarray(words[top : top + cut.rows, cut.left : cut.right])


def _unused(where: str, holds: str) -> RefusedError:
    return RefusedError(
        f"some words hold something {where} that this codec would drop",
        advice=f"use --to {holds} which holds it, or --unused-bits keep or clear",
        code="E_UNUSED_BITS",
    )
