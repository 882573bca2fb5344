"""What a file is, as a record for JSON. Every record has every field; null means that it does not apply."""

from __future__ import annotations

from typing import Any

from dcmtx.dataset.element import tag_text
from dcmtx.dataset.meta import IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION
from dcmtx.errors import DcmtxError
from dcmtx.finding import Finding
from dcmtx.inspect.info import Info
from dcmtx.pixel.codestream import Codestream, details
from dcmtx.rules import catalog
from dcmtx.syntax import Syntax

# The version of the records. It rises when a field changes its meaning or is removed.
VERSION = 1
# What each field means, for the man page.
MEANINGS: dict[str, str] = {
    "version": "1; it rises when a field changes its meaning or goes",
    "path": "the file",
    "bytes": "its size",
    "syntax": "`uid`, `name`, `keyword`, `kind`, `loss`, `retired`, `deflated` and `section` of the transfer syntax; "
    "`encoding` is how the data set really is encoded",
    "meta": "whether it has a `preamble`, whether that makes it a `tiff` file too, and who wrote it: "
    "`implementation_class`, `implementation_version`",
    "sop_class": "SOP Class UID",
    "sop_instance": "SOP Instance UID",
    "pixels": "`tag` and `vr` of the pixels, the attributes of the Image Pixel Module, `native_bytes`, `coded_bytes`, "
    "and `ratio`, counted from Bits Stored",
    "encapsulation": "how many `fragments` there are, and what `basic_table` and `extended_table` are worth: absent, "
    "empty, true or wrong",
    "codestream": "what the first codestream says of itself; null is what its family does not have",
    "loss": "`flag` is Lossy Image Compression, `history` has `method` and `ratio` of each loss, the oldest first; "
    "`image_type` is Image Type",
    "overlays": "`group`, `rows`, `columns`, and the `bit` of the pixels that holds it, null if it has data of its own",
    "icons": "`rows`, `columns` and `photometric`",
    "signatures": "how many digital signatures there are",
    "frames": "with --decode: `frame` (from 1), `minimum`, `maximum`, and `sha256` of its words in little endian, "
    "colour by pixel",
    "findings": "`code`, `severity`, `tag`, `frame` (from 1), `text`, `section` and `mend`",
    "error": "of what cannot be read or is not DICOM: `code`, `status`, `what` and `advice`",
}
_FIELDS: dict[str, Any] = {
    "version": VERSION, "path": None, "bytes": None, "syntax": None, "meta": None, "sop_class": None,
    "sop_instance": None, "pixels": None, "encapsulation": None, "codestream": None, "loss": None, "overlays": [],
    "icons": [], "signatures": 0, "frames": None, "findings": [], "error": None,
}  # fmt: skip


def as_record(info: Info) -> dict[str, Any]:
    """Return the record of a file."""
    return _FIELDS | {
        "path": info.path,
        "bytes": info.size,
        "syntax": None if info.syntax is None else _syntax(info.syntax, info.encoding),
        "meta": {
            "preamble": bool(info.meta.preamble),
            "tiff": info.tiff,
            "implementation_class": info.meta.text(IMPLEMENTATION_CLASS) or None,
            "implementation_version": info.meta.text(IMPLEMENTATION_VERSION) or None,
        },
        "sop_class": info.sop_class or None,
        "sop_instance": info.sop_instance or None,
        "pixels": _pixels(info),
        "encapsulation": _encapsulation(info),
        "codestream": _codestream(info.streams.first, info.streams.details),
        "loss": {
            "flag": info.loss_flag or None,
            "image_type": info.image_type or None,
            "history": [
                {"method": method or None, "ratio": ratio or None}
                for method, ratio in zip(info.losses.methods, info.losses.ratios, strict=True)
            ],
        },
        "overlays": [
            {"group": f"{group:04X}", "rows": rows, "columns": columns, "bit": bit}
            for group, rows, columns, bit in info.overlays
        ],
        "icons": [
            {"rows": rows, "columns": columns, "photometric": photometric or None}
            for rows, columns, photometric in info.icons
        ],
        "signatures": info.signatures,
        "frames": None if info.frames is None else [
            {"frame": number, "minimum": frame.minimum, "maximum": frame.maximum, "sha256": frame.sha256}
            for number, frame in enumerate(info.frames, 1)
        ],
        "findings": [finding_record(finding, info.syntax) for finding in info.findings],
    }  # fmt: skip


def error_record(path: str, error: DcmtxError) -> dict[str, Any]:
    """Return the record of what could not be read at all."""
    told = {"code": error.code, "status": int(error.status), "what": error.what, "advice": error.advice or None}
    return _FIELDS | {"path": path, "error": told}


def finding_record(finding: Finding, syntax: Syntax | None) -> dict[str, Any]:
    """Return the record of a finding, with its section of the standard and the command that mends it."""
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "tag": None if finding.tag is None else tag_text(finding.tag),
        "frame": None if finding.frame is None else finding.frame + 1,
        "text": finding.text,
        "section": catalog.section(finding.code),
        "mend": catalog.mend(finding.code, syntax) or None,
    }


def _syntax(syntax: Syntax, encoding: str) -> dict[str, Any]:
    return {
        "uid": syntax.uid, "name": syntax.name, "keyword": syntax.keyword, "kind": syntax.kind.value,
        "loss": syntax.loss.value, "retired": syntax.retired, "deflated": syntax.deflated, "section": syntax.section,
        "encoding": encoding or None,
    }  # fmt: skip


def _pixels(info: Info) -> dict[str, Any] | None:
    if info.pixel is None:
        return None
    tag, vr = info.pixel
    found: dict[str, Any] = {"tag": tag, "vr": vr or None}
    fmt = info.format
    for name in ("rows", "columns", "samples", "photometric", "allocated", "stored", "high_bit", "signed", "planar",
                 "frames"):  # fmt: skip
        found[name] = None if fmt is None else getattr(fmt, name)
    ratio = info.ratio
    return found | {
        "native_bytes": None if fmt is None else fmt.native_bytes,
        "coded_bytes": info.coded_bytes,
        "ratio": None if ratio is None else round(ratio, 4),
    }


def _encapsulation(info: Info) -> dict[str, Any] | None:
    if info.fragments is None:
        return None
    return {"fragments": info.fragments, "basic_table": info.basic.value, "extended_table": info.extended.value}


def _codestream(stream: Codestream | None, more: details.Details | None) -> dict[str, Any] | None:
    """Return the first codestream; what its family does not have is null."""
    if stream is None or more is None:
        return None
    kind = stream.kind
    wavelet = kind in ("j2k", "htj2k")
    predictive = stream.lossless_process
    found: dict[str, Any] = {
        "kind": kind, "rows": stream.rows or None, "columns": stream.columns or None,
        "components": stream.components, "precision": stream.precision, "signed": stream.signed,
        "reversible": stream.reversible, "transform": stream.transform.value,
        "sampling": [f"{across}x{down}" for across, down in stream.sampling] or None,
        "process": f"SOF{stream.process - 0xC0}" if kind == "jpeg" else None,
        "predictor": stream.predictor if predictive else None,
        "point_transform": stream.near if predictive else None,
        "near": stream.near if kind == "jpegls" else None,
        "interleave": stream.interleave if kind == "jpegls" else None,
        "ht": kind == "htj2k" if wavelet else None,
        "progression": details.PROGRESSIONS[min(stream.progression, 4)] if wavelet else None,
        "resolutions": stream.levels + 1 if wavelet else None,
        "tiles": stream.tiles if wavelet else None,
        "boxed": stream.boxed if wavelet else None,
    }  # fmt: skip
    return found | {name: list(value) if isinstance(value, tuple) else value for name, value in more.items()}
