"""A comparison as a record for JSON, and in lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dcmtx.dataset.dictionary import name_of
from dcmtx.dataset.element import tag_text
from dcmtx.errors import DcmtxError
from dcmtx.inspect.compare import Comparison, FrameDifference, decibels
from dcmtx.inspect.elements import Differing

# The version of the records. It rises when a field changes its meaning or is removed.
VERSION = 1
# What each field means, for the man page.
MEANINGS: dict[str, str] = {
    "version": "1; it rises when a field changes its meaning or goes",
    "first": "the file of A, null where there is none",
    "second": "the file of B, null where there is none",
    "equal": "whether both are equal, but for what a conversion may change",
    "pixels": "whether they are `equal`; the `reason` why they cannot be compared, or null; how many `frames` were "
    "compared; the `psnr` of all; and of each frame in `differences`: `frame` (from 1), how many `samples` differ of "
    "`total`, `largest` and `mean` error, `psnr`, `ssim`, and the `worst` place, with the values there",
    "elements": "those that differ: `path`, `tag`, `name`, and `what` differs",
    "changed": "the same of elements that a conversion may change",
    "notes": "what was passed over",
    "error": "of what cannot be compared: `code`, `status`, `what`, `advice`, `path` and `frame`",
}
_FIELDS: dict[str, Any] = {
    "version": VERSION, "first": None, "second": None, "equal": False, "pixels": None, "elements": [], "changed": [],
    "notes": [], "error": None,
}  # fmt: skip


def as_record(found: Comparison) -> dict[str, Any]:
    """Return the record of two files."""
    return _FIELDS | {
        "first": found.one,
        "second": found.other,
        "equal": found.equal,
        "pixels": {
            "equal": found.pixels_equal,
            "reason": found.reason or None,
            "frames": found.frames,
            "psnr": decibels(found.psnr),
            "differences": [_frame(one) for one in found.differences],
        },
        "elements": [_element(one) for one in found.elements],
        "changed": [_element(one) for one in found.changed],
        "notes": list(found.notes),
    }


def lone_record(first: str, second: str) -> dict[str, Any]:
    """Return the record of a file that has no other."""
    return _FIELDS | {"first": first or None, "second": second or None}


def error_record(first: str, second: str, error: DcmtxError) -> dict[str, Any]:
    """Return the record of files of which one could not be read."""
    frame = None if error.frame is None else error.frame + 1
    told = {
        "code": error.code, "status": int(error.status), "what": error.what, "advice": error.advice or None,
        "path": error.path, "frame": frame,
    }  # fmt: skip
    return lone_record(first, second) | {"error": told}


def _frame(one: FrameDifference) -> dict[str, Any]:
    measured = one.measured
    row, column, sample = measured.worst
    return {
        "frame": one.frame + 1, "samples": measured.samples, "total": measured.total, "largest": measured.largest,
        "mean": round(measured.mean, 6), "psnr": decibels(one.psnr),
        "ssim": None if measured.ssim is None else round(measured.ssim, 6),
        "worst": {
            "row": row + 1, "column": column + 1, "sample": sample + 1, "first": measured.values[0],
            "second": measured.values[1],
        },
    }  # fmt: skip


def _element(one: Differing) -> dict[str, Any]:
    path = [f"{tag_text(tag)}[{number}]" for tag, number in one.path]
    return {"path": path, "tag": tag_text(one.tag), "name": name_of(one.tag) or None, "what": one.what}


def lines(found: Comparison, *, values: bool) -> Iterator[tuple[str, str]]:
    """Yield label and text of all that differs; `values` has the values of elements shown."""
    yield "pixels", _pixels(found)
    for one in found.differences:
        yield f"frame {one.frame + 1}", _frame_text(one)
    for note in found.notes:
        yield "note", note
    for element in found.elements:
        yield "element", _element_text(element, values=values)
    for element in found.changed:
        yield "changed", f"{_element_text(element, values=values)}, as conversions do"


def _pixels(found: Comparison) -> str:
    if found.reason:
        return f"cannot be compared: {found.reason}"
    if not found.frames:
        return "none"
    frames = f"{found.frames} frame{'s' * (found.frames != 1)}"
    if not found.differences:
        return f"equal, {frames}"
    psnr = f", PSNR of all {found.psnr:.2f} dB" if found.psnr is not None else ""
    return f"{len(found.differences)} of {frames} differ{'s' * (len(found.differences) == 1)}{psnr}"


def _frame_text(one: FrameDifference) -> str:
    measured = one.measured
    row, column, sample = measured.worst
    first, second = measured.values
    ssim = f", SSIM {measured.ssim:.4f}" if measured.ssim is not None else ""
    of = f", sample {sample + 1}" if sample else ""
    return (
        f"{measured.samples} of {measured.total} samples differ, largest error {measured.largest}, mean "
        f"{measured.mean:.4g}, PSNR {one.psnr:.2f} dB{ssim}; worst at row {row + 1}, column {column + 1}{of}: {first} "
        f"and {second}"
    )


def _element_text(one: Differing, *, values: bool) -> str:
    path = " > ".join([*(f"{tag_text(tag)} item {number}" for tag, number in one.path), tag_text(one.tag)])
    name = name_of(one.tag)
    what = {"value": "has another value", "VR": "has another VR", "items": "has another number of items"}
    text = f"{path}{f' {name}' if name else ''} {what.get(one.what, f'is {one.what}')}"
    return f"{text}: {one.values[0]!r} and {one.values[1]!r}" if values and any(one.values) else text
