"""`--to smallest`: tries lossless codecs on a file's own frames, and takes the one that makes them smallest."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from dcmtx.errors import CodecError, DcmtxError, RefusedError, UnsupportedError
from dcmtx.finding import Finding
from dcmtx.planning.planner import make
from dcmtx.planning.request import Request, Target
from dcmtx.planning.routes import Route
from dcmtx.policy import Verify
from dcmtx.record import Record
from dcmtx.syntax import Syntax
from dcmtx.transcoding.routes import work_of

if TYPE_CHECKING:
    from dcmtx.planning.plan import Plan
    from dcmtx.transcoding.source import Opened

# Of larger files, frames that are spread evenly, of so many bytes together.
_SAMPLE = 64 << 20


class Tried(Record):
    """What one syntax makes of the sample: bytes, or why it does not hold it."""

    syntax: Syntax
    size: int = 0
    why: str = ""


def smallest(opened: Opened, request: Request) -> tuple[Request, tuple[Finding, ...]]:
    """Return the request with the target that makes the file smallest, and a note on what was tried.

    Ties go to the first of the target's syntaxes, which decodes fastest. A file without pixels gets the first. Raises
    the refusal of the last syntax if none holds the file.
    """
    syntaxes = request.target.syntaxes
    fmt = opened.frames.format
    if opened.dataset.header.pixel is None or fmt is None or opened.frames.fault is not None:
        return request.replace(target=first_of(request.target)), ()
    numbers = _sample(fmt.frames, fmt.frame_bytes)
    tried: list[Tried] = []
    refusal: DcmtxError | None = None
    for syntax in syntaxes:
        try:
            tried.append(Tried(syntax, size=_size(opened, request, syntax, numbers)))
        except (RefusedError, UnsupportedError, CodecError) as error:
            refusal = error
            tried.append(Tried(syntax, why=error.reason))
    held = [one for one in tried if not one.why]
    if not held:
        assert refusal is not None
        raise refusal
    best = min(held, key=lambda one: one.size)
    target = Target(best.syntax.label, (best.syntax,))
    return request.replace(target=target), (_told(best, tried, len(numbers), fmt.frames),)


def first_of(target: Target) -> Target:
    """Return the first of the syntaxes of a target as a target."""
    return Target(target.syntaxes[0].label, target.syntaxes[:1])


def _told(best: Tried, tried: list[Tried], sampled: int, frames: int) -> Finding:
    sizes = ", ".join(
        f"{one.syntax.label} {one.size}" for one in sorted(tried, key=lambda one: one.size) if not one.why
    )
    others = "".join(f"; {one.syntax.label} does not hold it" for one in tried if one.why)
    of = "" if sampled == frames else f" for {sampled} of {frames} frames"
    return Finding("N_SMALLEST", f"{best.syntax.label} is the smallest: bytes{of} are {sizes}{others}")


def _sample(frames: int, frame_bytes: int) -> list[int]:
    """Return the numbers of the frames to try: all, or so many of them, evenly spread."""
    most = max(1, min(frames, _SAMPLE // max(frame_bytes, 1)))
    return sorted({number * frames // most for number in range(most)})


def _size(opened: Opened, request: Request, syntax: Syntax, numbers: list[int]) -> int:
    """Return how many bytes these frames take in a syntax. Raises RefusedError, UnsupportedError or CodecError."""
    policy = request.policy.replace(verify=Verify.NONE, cross_check=False)
    asked = request.replace(target=Target(syntax.label, (syntax,)), policy=policy)
    plan: Plan = make(opened.dataset, opened.frames, asked, inside=False)
    frames = opened.frames.in_words(plan.word_bytes)
    if plan.route is not Route.RECODE:
        return sum(len(frames.frame(number)) for number in numbers)
    total = 0
    with closing(work_of(plan, frames)) as work:
        for number in numbers:
            (coded,) = work.code([number])
            if isinstance(coded, DcmtxError):
                raise coded
            total += len(coded.data)
    return total
