"""What a destination's answers mean, as a table: what is done with an instance after it was sent, or could not be."""

from __future__ import annotations

from enum import Enum

from dcmtx.record import Record


class AnswerKind(Enum):
    """What becomes of the instance that was answered."""

    DELIVERED = "delivered"
    AGAIN = "again"  # the destination has no room now: later, with its back-off; held after `hold_after`
    FEW_TRIES = "few tries"  # this instance is not understood: a few times over minutes, then held; others go on
    HOLD = "hold"  # it will never be taken: held at once
    OTHER_SYNTAX = "other syntax"  # not in this transfer syntax: in the next that it may take
    NO_CONTEXT = "no context"  # the destination takes neither the class nor any syntax it can have: held at once
    BROKEN = "broken"  # the association ended without an answer: a new one, the same instance
    UNREACHABLE = "unreachable"  # nothing can be sent at all: back-off, one probe at a time
    REJECTED = "rejected"  # the destination does not know this relay: a probe every few minutes


class Answer(Record):
    """One answer. `status` is that of C-STORE, or with `http` of HTTP; None if there was none. `text` is for people.

    `said` is what the destination says itself. There may be a patient's name in it, so it comes into no log.
    """

    kind: AnswerKind
    status: int | None = None
    text: str = ""
    http: bool = False
    said: str = ""

    @property
    def whole(self) -> str:
        """The text, and what the destination says itself."""
        return with_said(self.text, self.said)

    @property
    def code(self) -> str:
        """The status as it is counted: as the standard writes it, or a word if there was none."""
        if self.status is None:
            return self.kind.value
        return f"HTTP {self.status}" if self.http else f"{self.status:04X}"


class Undeliverable(Exception):  # noqa: N818 - the answer says what it is
    """Nothing can be delivered now: the association or connection cannot be made. `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


_DELIVERED, _AGAIN, _FEW_TRIES, _HOLD = AnswerKind.DELIVERED, AnswerKind.AGAIN, AnswerKind.FEW_TRIES, AnswerKind.HOLD

# First and last status of a range, what it means, and its name (PS3.4 Table B.2-1, PS3.7 Annex C).
STATUSES: tuple[tuple[int, int, AnswerKind, str], ...] = (
    (0x0000, 0x0000, _DELIVERED, "success"),
    (0x0001, 0x0001, _DELIVERED, "warning"),
    (0x0107, 0x0107, _DELIVERED, "attribute list warning"),
    (0x0110, 0x0110, _AGAIN, "processing failure"),
    (0x0111, 0x0111, _DELIVERED, "it has this instance already"),
    (0x0116, 0x0116, _DELIVERED, "attribute value out of range"),
    (0x0117, 0x0117, _HOLD, "invalid object instance"),
    (0x0122, 0x0122, _HOLD, "SOP class not supported"),
    (0x0124, 0x0124, _HOLD, "not authorized"),
    (0x0210, 0x0210, _HOLD, "duplicate invocation"),
    (0x0211, 0x0211, _HOLD, "unrecognized operation"),
    (0x0212, 0x0212, _HOLD, "mistyped argument"),
    (0xA700, 0xA7FF, _AGAIN, "out of resources"),
    (0xA900, 0xA9FF, _FEW_TRIES, "data set does not match SOP class"),
    (0xB000, 0xB000, _DELIVERED, "coercion of data elements"),
    (0xB006, 0xB006, _DELIVERED, "elements discarded"),
    (0xB007, 0xB007, _DELIVERED, "data set does not match SOP class, stored"),
    (0xB000, 0xBFFF, _DELIVERED, "stored, with a warning"),
    (0xC000, 0xCFFF, _FEW_TRIES, "cannot understand"),
)


def answer_to_status(status: int, comment: str = "") -> Answer:
    """Return what a status of C-STORE means. What the standard does not name is tried a few times.

    `comment` is the Error Comment (0000,0902) that came with it.

    >>> answer_to_status(0xA701).kind.value, answer_to_status(0xC123).kind.value
    ('again', 'few tries')
    """
    kind, name = next(
        ((kind, name) for first, last, kind, name in STATUSES if first <= status <= last),
        (_FEW_TRIES, "an unknown status"),
    )
    return Answer(kind, status, f"status {status:04X}, {name}", said=comment)


def with_said(text: str, said: str) -> str:
    """Return a reason, and what the destination said itself."""
    return f"{text}, {said!r}" if said else text


# A-ASSOCIATE-RJ (PS3.8 Table 9-21): source and reason, as a user reads them.
_REASONS: dict[tuple[int, int], str] = {
    (1, 1): "no reason given",
    (1, 2): "application context not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
_PERMANENT = 1


def answer_to_rejection(result: int, source: int, reason: int) -> Answer:
    """Return what an A-ASSOCIATE-RJ means: result 1 is permanent, 2 transient.

    >>> answer_to_rejection(1, 1, 7).text
    'association rejected for good: called AE title not recognized'
    """
    why = _REASONS.get((source, reason), f"source {source}, reason {reason}")
    if result == _PERMANENT:
        return Answer(AnswerKind.REJECTED, text=f"association rejected for good: {why}")
    return Answer(AnswerKind.UNREACHABLE, text=f"association rejected for now: {why}")
