"""Outcomes as text for people, and as records for programs."""

from __future__ import annotations

from typing import Any

from dcmtx.batch.convert import DONE_BEFORE
from dcmtx.batch.summary import Summary
from dcmtx.dataset.edit import Append, Edit, Remove, Reserve, Set, Within
from dcmtx.dataset.element import tag_text
from dcmtx.errors import DcmtxError
from dcmtx.finding import Finding
from dcmtx.planning.plan import Plan
from dcmtx.policy import OffsetTable
from dcmtx.syntax import find
from dcmtx.transcoding.announce import line, shown_value
from dcmtx.transcoding.job import Outcome, Status

# The version of the records that `as_record` makes. It rises when a field changes its meaning or is removed.
RECORD_VERSION = 2


def verbose_line(outcome: Outcome) -> str:
    """Return one line on what was done."""
    if outcome.status is Status.UNCHANGED:
        return f"is {_label(outcome.syntax_in)} already, nothing to do"
    if outcome.status is Status.COPIED:
        return f"is {_label(outcome.syntax_in)} already, copied"
    backends = " to ".join(name for name in (outcome.decoder, outcome.encoder) if name)
    frames = f", {outcome.frames} frame{'s' * (outcome.frames != 1)}" if outcome.frames else ""
    by = f" by {backends}" if backends else ""
    route = f"{_label(outcome.syntax_in)} to {_label(outcome.syntax_out)}{by}{frames}"
    # Of the frames of one source, the first one alone has its bytes.
    source = outcome.bytes_in
    if outcome.status is Status.PLANNED:
        return f"{route}{f' of {source} bytes' if source else ''}, planned"
    verified = ", ".join(f"{count} by {library}" for library, count in outcome.verified)
    return (
        f"{route}, {f'{source} to ' if source else ''}{outcome.bytes_out} bytes, {outcome.seconds:.3f} s"
        f"{', verified: ' if verified else ''}{verified}"
    )


def _label(uid: str) -> str:
    syntax = find(uid)
    return syntax.label if syntax else uid


# --- plans -----------------------------------------------------------------------------------------------------


def plan_lines(outcome: Outcome, name: str) -> list[str]:
    """Return the plan for a file, shown as `name`: a heading, then a line per step and per attribute."""
    rule = f" (rule: {outcome.rule})" if outcome.rule else ""
    lines = [f"{name}: {_label(outcome.syntax_in)} to {_label(outcome.syntax_out)}{rule}"]
    plan = outcome.plan
    if plan is None:
        return [*lines, "  copy: it has the target syntax already"]
    lines += [f"  {step}" for step in steps(plan)]
    lines += [f"  {change}" for change in changes(plan)]
    return lines


def steps(plan: Plan) -> list[str]:
    """Return what happens to the pixels, step by step."""
    table = [f"offset table: {plan.table.value}"] if plan.table is not OffsetTable.EMPTY else []
    if plan.fragment_size is not None:
        table.append(f"fragments: of {plan.fragment_size} bytes at most")
    return [f"route: {plan.route.describe()}", *(step.describe() for step in plan.steps), *table]


def changes(plan: Plan) -> list[str]:
    """Return all changes, in File Meta Information, at the top level and inside sequences, sorted by tag."""
    said = [((*detail.path, detail.tag), line(detail)) for detail in plan.details]
    # The details already list changes inside sequences.
    said += [((tag,), _change(tag, edit)) for tag, edit in plan.edits.items() if not isinstance(edit, Within)]
    return [text for _, text in sorted(said)]


def _change(tag: int, edit: Edit) -> str:
    if isinstance(edit, Remove):
        return f"{tag_text(tag)} removed"
    if isinstance(edit, Set):
        return f"{tag_text(tag)} becomes {shown_value(edit.vr, edit.value)}"
    if isinstance(edit, Reserve):
        return f"{tag_text(tag)} set when it is known ({edit.key})"
    return f"{tag_text(tag)} {'gets an item' if isinstance(edit, Append) else 'replaced'}"


# --- records ---------------------------------------------------------------------------------------------------


def summary_lines(summary: Summary, seconds: float) -> list[str]:
    """Return the lines that summarize a batch."""
    counts = [f"{count} {status.value}" for status, count in summary.counts.items() if count]
    counts += [f"{count} skipped ({why})" for why, count in sorted(summary.skipped.items())]
    counts += [f"{count} refused ({code})" for code, count in sorted(summary.refused.items())]
    counts += [f"{summary.failed} failed"] if summary.failed else []
    lines = [f"{summary.files} file{'s' * (summary.files != 1)} in {seconds:.1f} s: {', '.join(counts) or 'nothing'}"]
    if summary.bytes_out:
        ratio = summary.bytes_in / summary.bytes_out
        rate = _size(summary.bytes_in / max(seconds, 1e-6))
        lines.append(f"{_size(summary.bytes_in)} became {_size(summary.bytes_out)} (ratio {ratio:.2f}), {rate}/s")
    if summary.references:
        lines.append(references_line(summary.references))
    return lines


def references_line(count: int) -> str:
    """Return how many references were updated, in words."""
    return f"{count} references follow new SOP Instance UIDs" if count != 1 else "1 reference follows a new UID"


def _size(count: float) -> str:
    """Return a number of bytes in GB, MB or kB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count / 1e3:.1f} kB"


# Every record has every field; null means unknown or not applicable.
_FIELDS: dict[str, Any] = {
    "version": RECORD_VERSION, "source": None, "destination": None, "status": None, "syntax_in": None,
    "syntax_out": None, "decoder": None, "encoder": None, "frames": None, "bytes_in": None, "bytes_out": None,
    "ratio": None, "psnr": None, "verified": None, "rule": None, "pixels_sha256": None, "pixels_sha256_out": None,
    "sop_instance_in": None, "sop_instance_out": None, "seconds": None, "notes": [], "error": None, "plan": None,
}  # fmt: skip


# The types of the fields, by Arrow's names, for those who write tables.
_NOTE = {"code": "string", "severity": "string", "tag": "string", "frame": "int64", "text": "string"}
_ERROR = {
    "code": "string", "status": "int64", "message": "string", "what": "string", "advice": "string", "frame": "int64",
}  # fmt: skip
COLUMNS: dict[str, Any] = {
    **dict.fromkeys(_FIELDS, "string"),
    **dict.fromkeys(("version", "frames", "bytes_in", "bytes_out"), "int64"),
    **dict.fromkeys(("ratio", "psnr", "seconds"), "float64"),
    "verified": ("string", "int64"),
    "notes": [_NOTE],
    "error": _ERROR,
    "plan": {"steps": ["string"], "changes": ["string"]},
}


def skip_record(src: str, dst: str, why: str) -> dict[str, Any]:
    """Return the record of a file that was skipped."""
    return _FIELDS | {
        "source": src,
        "destination": dst,
        "status": "skipped",
        "notes": [_note(Finding("N_DONE_BEFORE", why) if why == DONE_BEFORE else Finding("N_SKIPPED", why))],
    }


def references_record(src: str, dst: str, count: int, size: int) -> dict[str, Any]:
    """Return the record of a file that was made before, in which references were updated; `size` is its new one."""
    return _FIELDS | {
        "source": src,
        "destination": dst,
        "status": "updated",
        "bytes_out": size,
        "notes": [_note(Finding("N_REFERENCES", references_line(count)))],
    }


def _note(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "tag": None if finding.tag is None else tag_text(finding.tag),
        "frame": None if finding.frame is None else finding.frame + 1,
        "text": finding.text,
    }


def as_record(result: Outcome | DcmtxError, src: str, dst: str) -> dict[str, Any]:
    """Return the result for a file as a record for JSON."""
    record = _FIELDS | {"source": src, "destination": dst}
    if isinstance(result, DcmtxError):
        frame = None if result.frame is None else result.frame + 1
        error = {
            "code": result.code, "status": int(result.status), "message": result.message, "what": result.what,
            "advice": result.advice or None, "frame": frame,
        }  # fmt: skip
        return record | {"status": "failed", "error": error}
    plan = result.plan
    record |= {
        "status": result.status.value,
        "syntax_in": result.syntax_in,
        "syntax_out": result.syntax_out,
        "decoder": result.decoder or None,
        "encoder": result.encoder or None,
        "frames": result.frames,
        "bytes_in": result.bytes_in,
        "bytes_out": result.bytes_out or None,
        "ratio": result.ratio,
        "psnr": result.psnr if result.psnr is None or result.psnr < 1e9 else None,
        "verified": dict(result.verified) if result.verified else None,
        "rule": result.rule or None,
        "pixels_sha256": result.digest,
        "pixels_sha256_out": result.digest_out,
        "sop_instance_in": result.instance_in or None,
        "sop_instance_out": result.instance_out or None,
        "seconds": round(result.seconds, 6),
        "notes": [_note(finding) for finding in result.notes],
    }
    if result.status is Status.PLANNED:
        record["plan"] = (
            {"steps": steps(plan), "changes": changes(plan)} if plan else {"steps": ["copy"], "changes": []}
        )
    return record
