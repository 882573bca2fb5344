"""Jobs that keep a part of an image: rows, columns, frames."""

from __future__ import annotations

from typing import Any

from dcmtx.errors import UsageError
from dcmtx.options import OPTIONS, option_name
from dcmtx.planning.request import Target, Way
from dcmtx.policy import Cut, EncodingParameters
from dcmtx.transcoding.job import Job, job

_SAME = Target("same", ())
_CODING = frozenset(name for name, _ in EncodingParameters().items())


def crop_job(
    src: str,
    dst: str,
    *,
    rows: str | None = None,
    columns: str | None = None,
    frames: str | None = None,
    to: str | None = None,
    keep_private: bool = False,
    **options: Any,
) -> Job:
    """Return the job that writes a part of the image `src` to `dst`, in the syntax `to`.

    Ranges are text such as "16:48", counted from 0, without the last; an end that is left out is that of the image.
    Without `to`, the file keeps its syntax, or gets its lossless relative. Other `options` are those of `transcode`.

    Raises UsageError for a range that is none, and what `job` raises.
    """
    cut = _cut(rows, columns, frames)
    options["remove"] = "none" if keep_private else "private"
    fragment_size = options.pop("fragment_size", None)
    if to is None:
        asked = sorted(option_name(name) for name in _CODING if options.get(name))
        if asked:
            raise UsageError(f"{', '.join(asked)} goes with --to, which says what is encoded", advice="add --to")
        # Checked against any target with fragments; the real one is known when the file is open.
        base = job(src, dst, to="encapsulated", **options)
        policy = base.request.policy.replace(fragment_size=OPTIONS["fragment_size"].checked(fragment_size))
        request = base.request.replace(target=_SAME, policy=policy)
    else:
        base = job(src, dst, to=to, fragment_size=fragment_size, **options)
        request = base.request
    return base.replace(request=request.replace(way=Way.CROP, cut=cut))


def _cut(rows: str | None, columns: str | None, frames: str | None) -> Cut:
    """Return the part that these ranges name; at least one must."""
    if rows is None and columns is None and frames is None:
        raise UsageError("nothing says which part to keep", advice="name it with --rows, --columns or --frames")
    top, bottom = _range("rows", rows)
    left, right = _range("columns", columns)
    first, end = _range("frames", frames)
    return Cut(top=top, bottom=bottom, left=left, right=right, first=first, end=end)


def _range(name: str, text: str | None) -> tuple[int, int | None]:
    if text is None:
        return 0, None
    start, colon, end = (part.strip() for part in text.partition(":"))
    if not colon or not all(
        part == "" or (part.isascii() and part.isdecimal() and len(part) < 10) for part in (start, end)
    ):
        raise UsageError(
            f"--{name} is {text[:40]!r}, not a range",
            advice="write 16:48, 16: or :48; the first is 0, and the last is not kept",
        )
    first, last = int(start or 0), int(end) if end else None
    if last is not None and first >= last:
        raise UsageError(f"--{name} {text} is empty", advice="the first counts from 0, and the last is not kept")
    return first, last
