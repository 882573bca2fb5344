"""A frame as the target holds it, what was measured on it, and the memory that it takes until then."""

from __future__ import annotations

from typing import Any

from dcmtx.errors import DcmtxError
from dcmtx.planning.plan import Plan
from dcmtx.record import Record
from dcmtx.transcoding.frames import Frames

Frame = Any


class Measure(Record):
    """What verification measured on a lossy frame: smallest and largest value, sum of squared errors, largest error."""

    smallest: int
    largest: int
    squares: float
    worst: int


class EncodedFrame(Record):
    """One frame as the target holds it: its bytes, the overlays extracted from it, and the measured loss.

    `judged` is the library that decoded it for comparison, empty where none did. `words` are the decoded words of the
    source, if they are kept, and `given` those that were encoded, if they are others. `cleared` is how many words had
    content outside Bits Stored that was cleared, as the user chose. `exact` says that the frame is lossless although
    loss was allowed; `spare` is how many bytes the lossless frame takes, or would take.
    """

    data: Frame
    overlays: tuple[Frame, ...] = ()
    measure: Measure | None = None
    judged: str = ""
    words: Frame = None
    given: Frame = None
    cleared: int = 0
    exact: bool = False
    spare: int = 0


def only(results: list[Any]) -> EncodedFrame:
    """Return the only result. Raises what it is, if it is an error."""
    (result,) = results
    if isinstance(result, DcmtxError):
        raise result
    coded: EncodedFrame = result
    return coded


# Codecs that hold every sample as a 32-bit number while they work.
_WIDE_FAMILIES = frozenset(["j2k", "htj2k", "jpegxl"])
# Memory per sample for changing colours: floating point numbers, or indices of a palette.
_CHANGE_BYTES = 24


def frame_memory(plan: Plan, frames: Frames) -> int:
    """Return about how many bytes one frame takes while it is processed, with all copies that exist at the same time.

    These are the frame encoded, decoded, prepared for the encoder, encoded again, and decoded for comparison.
    """
    fmt = plan.source_format
    assert fmt is not None
    encoded = -(-frames.coded_bytes // fmt.frames) if frames.encapsulated else fmt.frame_bytes
    decoded_format, encoder_format = plan.decoded_format, plan.encoder_format
    if decoded_format is None or encoder_format is None:
        return 2 * encoded
    decoded = decoded_format.pixels * decoded_format.samples * decoded_format.word_bytes
    samples = encoder_format.pixels * encoder_format.samples
    settled = samples * encoder_format.word_bytes
    total = encoded + decoded + 2 * settled
    if plan.judges.judge is not None:
        # A loss is measured a piece at a time; what is equal, with a byte for each sample.
        total += settled + samples
    if plan.derived:
        total += samples * _CHANGE_BYTES
    wide = {plan.syntax.family, frames.syntax.family} & _WIDE_FAMILIES
    return total + (4 * samples if wide else 0)
