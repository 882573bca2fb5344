"""What a file is, in lines for people: a label and a text each."""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.dataset.element import tag_text
from dcmtx.finding import Finding
from dcmtx.inspect.info import Info
from dcmtx.pixel.codestream import NAMES, Codestream, Transform, details
from dcmtx.pixel.format import PixelFormat
from dcmtx.pixel.tables import Truth
from dcmtx.rules import catalog
from dcmtx.syntax import Kind, Loss, Syntax

_KINDS = {
    Kind.NATIVE: "pixels not compressed", Kind.FRAMES: "each frame in fragments of its own",
    Kind.STREAM: "video, one stream for all frames", Kind.COLLECTION: "several frames in one codestream",
    Kind.REFERENCE: "pixels elsewhere, at a URL", Kind.FLOW: "real-time video", Kind.MESSAGE: "a wrapping of messages",
}  # fmt: skip
_LOSSES = {
    Loss.NONE: "", Loss.LOSSLESS: "lossless", Loss.LOSSY: "lossy", Loss.BOTH: "lossless or lossy by its codestreams",
}  # fmt: skip
_TRANSFORMS = {
    Transform.UNSAID: "colour transform not said", Transform.NONE: "no colour transform",
    Transform.YCC: "YCbCr", Transform.RCT: "reversible colour transform",
    Transform.ICT: "irreversible colour transform",
}  # fmt: skip
_INTERLEAVES = ("planes one by one", "interleaved by line", "interleaved by sample")


def lines(info: Info) -> Iterator[tuple[str, str]]:
    """Yield label and text of everything that is known, without the findings."""
    yield "syntax", _syntax(info.syntax, info.meta.syntax)
    if info.encoding:
        yield "encoding", _joined(info.encoding, "deflated" if info.syntax and info.syntax.deflated else "")
    if info.pixel is not None:
        yield "pixels", _pixels(info.format, *info.pixel)
        yield "size", _size(info)
    if info.fragments is not None:
        yield "fragments", _fragments(info)
    if info.streams.first is not None and info.streams.details is not None:
        yield "codestream", _joined(*_codestream(info.streams.first, info.streams.details))
    yield "loss", _loss(info)
    for group, rows, columns, bit in info.overlays:
        yield (
            "overlay",
            _joined(f"group {group:04X}", f"{rows}x{columns}", f"in bit {bit} of the pixels" if bit else ""),
        )
    for rows, columns, colour in info.icons:
        yield "icon", _joined(f"{rows}x{columns}", colour)
    if info.signatures:
        yield "signatures", str(info.signatures)
    if info.tiff:
        yield "preamble", "makes it a TIFF file too"
    for number, frame in enumerate(info.frames or (), 1):
        yield f"frame {number}", f"{frame.minimum} to {frame.maximum}, SHA-256 {frame.sha256}"


def finding_line(finding: Finding, info: Info) -> str:
    """Return a finding on one line: frame, text, attribute, section, and what mends it."""
    frame = f"frame {finding.frame + 1}: " if finding.frame is not None else ""
    tag = f" {tag_text(finding.tag)}" if finding.tag is not None and tag_text(finding.tag) not in finding.text else ""
    # Some texts name a more special section already.
    section = "" if "PS3." in finding.text else f" ({catalog.section(finding.code)})"
    mends = catalog.mend(finding.code, info.syntax)
    return f"{finding.code} {frame}{finding.text}{tag}{section}" + (f"; mended by: {mends}" if mends else "")


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _syntax(syntax: Syntax | None, uid: str) -> str:
    if syntax is None:
        return f"{uid or 'none'}, which is not one of the standard's"
    meaning = _joined(_KINDS[syntax.kind], _LOSSES[syntax.loss], "retired" if syntax.retired else "")
    return f"{syntax.name} ({syntax.uid}): {meaning}"


def _pixels(fmt: PixelFormat | None, tag: str, vr: str) -> str:
    if fmt is None:
        return f"{tag} {vr}, which the attributes of the image do not describe"
    frames = f"{fmt.frames} frame{'s' * (fmt.frames != 1)}"
    planes = "by plane" if fmt.planar else "by pixel"
    high = f" up to bit {fmt.high_bit}" if fmt.high_bit != fmt.stored - 1 else ""
    return _joined(
        f"{frames} of {fmt.rows}x{fmt.columns}", fmt.photometric,
        f"{fmt.stored} of {fmt.allocated} bits{high}",
        "signed" if fmt.signed else "unsigned", planes if fmt.samples > 1 else "",
    )  # fmt: skip


def _size(info: Info) -> str:
    ratio = info.ratio
    return f"{info.coded_bytes} bytes of pixels" + (f", ratio {ratio:.2f}" if ratio else "")


def _fragments(info: Info) -> str:
    tables = [("Basic", info.basic), ("Extended", info.extended)]
    said = [f"{name} Offset Table {truth.value}" for name, truth in tables if truth is not Truth.ABSENT]
    return _joined(str(info.fragments), *said)


def _codestream(stream: Codestream, more: details.Details) -> Iterator[str]:
    yield NAMES[stream.kind]
    yield f"{stream.precision} bits" + ("" if stream.signed is None else " signed" if stream.signed else " unsigned")
    yield f"{stream.components} component{'s' * (stream.components != 1)}"
    if stream.kind != "rle":
        yield "reversible" if stream.reversible else "irreversible"
    if stream.components > 1 and stream.kind in ("jpeg", "j2k", "htj2k"):
        yield _TRANSFORMS[stream.transform]
    if stream.subsampled:
        yield "sampled " + " ".join(f"{across}x{down}" for across, down in stream.sampling)
    if stream.kind == "jpeg":
        yield f"SOF{stream.process - 0xC0}"
        yield f"predictor {stream.predictor}" if stream.lossless_process else ""
        yield f"point transform {stream.near}" if stream.lossless_process and stream.near else ""
    elif stream.kind == "jpegls":
        yield f"NEAR {stream.near}"
        yield _INTERLEAVES[min(stream.interleave, 2)] if stream.components > 1 else ""
        yield "parameters of its own" if more.presets else ""
    elif stream.kind in ("j2k", "htj2k"):
        yield from _jpeg_2000(stream, more)
    if more.restart_interval:
        yield f"restart interval {more.restart_interval}"
    if more.jpeg is not None:
        yield "of a JPEG file" if more.jpeg else "not of a JPEG file"
    if more.segments is not None:
        yield f"{more.segments} segment{'s' * (more.segments != 1)}"


def _jpeg_2000(stream: Codestream, more: details.Details) -> Iterator[str]:
    yield details.PROGRESSIONS[min(stream.progression, 4)]
    yield f"{stream.levels + 1} resolution{'s' * (stream.levels != 0)}"
    yield f"{more.layers} layer{'s' * (more.layers != 1)}"
    yield f"{stream.tiles} tiles of {more.tile[0]}x{more.tile[1]}" if stream.tiles > 1 and more.tile else "1 tile"
    markers = [name for name, there in (("TLM", more.tile_part_lengths), ("PLT", more.packet_lengths)) if there]
    yield f"with {' and '.join(markers)}" if markers else "without TLM and PLT"
    yield "in a JP2 file" if stream.boxed else ""


def _loss(info: Info) -> str:
    history = [
        f"{method or 'unknown method'} {ratio or 'of unknown ratio'}"
        for method, ratio in zip(info.losses.methods, info.losses.ratios, strict=True)
    ]
    if info.loss_flag == "01":
        return _joined("recorded", *history)
    return _joined("none recorded" + (f" ({info.loss_flag})" if info.loss_flag else ""), *history)
