"""Which rows code on a device, and what of a file it does not take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmtx.codec.registry import Direction, Registry
from dcmtx.codec.row import Row
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.errors import UnsupportedError
from dcmtx.finding import Finding
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning.request import NVIMGCODEC
from dcmtx.policy import LOSSLESS, Device, EncodingParameters, Verify
from dcmtx.syntax import Syntax

if TYPE_CHECKING:
    from dcmtx.planning.case import Case
    from dcmtx.planning.plan import Plan

# The backend of each device.
_BACKENDS = {Device.GPU: NVIMGCODEC}


def check() -> None:
    """Raise UnsupportedError, E_BACKEND, if the device or its library is not here."""
    for row in DECODERS.every_row():
        if row.backend in _BACKENDS.values():
            _check_row(row)


def _check_row(row: Row) -> None:
    from dcmtx.device import gpu

    if not row.is_installed():
        raise UnsupportedError(f"{row.backend} is not installed", advice=f"pip install {row.install}", code="E_BACKEND")
    reason = gpu.reason()
    if reason:
        raise UnsupportedError(
            f"{row.backend} needs an NVIDIA GPU, and {reason}", advice="use --device cpu", code="E_BACKEND"
        )


def choose_decoder(case: Case, fmt: PixelFormat) -> Row:
    """Return the row that decodes the source. Raises what `Registry.choose` raises."""
    row, reason = _on_device(DECODERS, case.source, case, fmt)
    if row is not None and not reason:
        return row
    return DECODERS.choose(case.source.uid, case.source.label, fmt, case.backend.decoder)


def choose_encoder(case: Case, fmt: PixelFormat, quality: EncodingParameters) -> Row:
    """Return the row that encodes the target. Raises what `Registry.choose` raises."""
    row, reason = _on_device(ENCODERS, case.target, case, fmt, quality)
    if row is not None and not reason:
        return row
    return ENCODERS.choose(case.target.uid, case.target.label, fmt, case.backend.encoder, quality)


def _on_device(
    registry: Registry, syntax: Syntax, case: Case, fmt: PixelFormat, quality: EncodingParameters = LOSSLESS
) -> tuple[Row | None, str]:
    """Return the row of the device that was asked for, if it has one for the syntax, and why it cannot be used."""
    encoding = registry.direction is Direction.ENCODE
    backend = _BACKENDS.get(case.backend.device)
    if (case.backend.encoder if encoding else case.backend.decoder) is not None:
        return None, ""
    lossy = encoding and quality.lossy
    for row in registry.rows(syntax.uid):
        if row.backend == backend and row.lossy == lossy:
            if not encoding and case.stream is not None:
                # What it can decode depends on what the codestream holds, not on what the data set says.
                fmt = fmt.replace(stored=case.stream.precision, signed=bool(case.stream.signed))
            return row, row.objection(fmt, quality)
    return None, ""


def device_notes(case: Case, plan: Plan) -> tuple[Finding, ...]:
    """Return a finding if the device that was asked for does not do all that it might."""
    decoder, encoder, judge = plan.decoder, plan.encoder, plan.judges.judge
    assert decoder is not None
    assert encoder is not None
    assert plan.source_format is not None
    assert plan.target_format is not None
    _, undecoded = _on_device(DECODERS, case.source, case, plan.source_format)
    _, unencoded = _on_device(ENCODERS, case.target, case, plan.target_format, plan.parameters)
    done = [("decoded", decoder, undecoded), ("encoded", encoder, unencoded)]
    if case.policy.verify is Verify.DEVICE and judge is not None and not judge.named_only:
        done.append(("verified", judge, _unverified(case, plan.target_format)))
    kept = [f"{verb} by {row.backend} ({reason})" for verb, row, reason in done if reason]
    if kept:
        return (Finding("N_DEVICE", f"the GPU does not take all of it: {'; '.join(kept)}"),)
    if not any(row is not None and row.named_only for row in (decoder, encoder, judge)):
        return (Finding("N_DEVICE", "the GPU does nothing for it: neither source nor target is JPEG 2000 or HTJ2K"),)
    return ()


def _unverified(case: Case, fmt: PixelFormat) -> str:
    rows = (row for row in DECODERS.rows(case.target.uid) if row.named_only)
    return next((row.limits.reason(fmt) for row in rows), f"it does not decode {case.target.label}")
