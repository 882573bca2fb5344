"""What the sources of one instance must agree in, and what the classes allow (PS3.4 C.3.5). Refusals name the files."""

from __future__ import annotations

from collections.abc import Iterable

from dcmtx.dataset.compose import text, whole, words
from dcmtx.errors import RefusedError, UnsupportedError
from dcmtx.finding import Finding, Severity
from dcmtx.rules import enhancing, legacy
from dcmtx.rules.legacy import AGREE, KINDS, Kind
from dcmtx.series.gathering import Gathered, differing, names

_OVERLAYS, _CURVES = range(0x6000, 0x6100), range(0x5000, 0x5100)
_ANNOTATION = 0x00700001
_EMBEDDED = 0x0102
_DATA = 0x3000


def check_agreement(gathered: Gathered) -> None:
    """Raise RefusedError, E_MIXED, where the sources differ in what one instance can have once."""
    for tag, name in AGREE.items():
        if tag in gathered.varying:
            most, *others = differing(gathered, tag)
            odd = [path for paths in others for path in paths]
            raise RefusedError(
                f"{name} ({tag >> 16:04X},{tag & 0xFFFF:04X}) is not the same in all: {names(odd)} "
                f"differ{'s' * (len(odd) == 1)} from {names(most, 1)}",
                advice="use --group, which makes an instance of each" if tag not in _NEVER else "",
                code="E_MIXED",
                path=odd[0],
            )


# Groups do not help where the patients or the studies of a directory differ only if they should.
_NEVER = frozenset([legacy.CHARACTER_SET])


def kind_of(gathered: Gathered) -> Kind:
    """Return the class of the sources. Raises UnsupportedError for one without an enhanced form."""
    uid = text(gathered.reference.get(legacy.SOP_CLASS))
    kind = KINDS.get(uid)
    if kind is None:
        raise UnsupportedError(
            f"its class {uid or 'is not said, which'} has no Legacy Converted Enhanced form; CT, MR and PET have",
            code="E_IOD",
            path=gathered.sources[0].path,
        )
    return kind


def check_pixels(gathered: Gathered, kind: Kind) -> int:
    """Return Bits Stored as written. Raises RefusedError, E_IOD, for pixels that the class does not allow."""
    header, path = gathered.reference, gathered.sources[0].path
    photometric, samples = text(header.get(legacy.PHOTOMETRIC)), whole(header.get(legacy.SAMPLES))
    if photometric != "MONOCHROME2" or samples > 1:
        raise RefusedError(
            f"Photometric Interpretation is {photometric or 'absent'}; {kind.name} images that are enhanced are "
            "MONOCHROME2",
            code="E_IOD",
            path=path,
        )
    allocated = whole(header.get(legacy.ALLOCATED))
    most = 0
    for index, source in enumerate(gathered.sources):
        own = header if legacy.STORED not in gathered.varying else gathered.own(index)
        high = header if legacy.HIGH_BIT not in gathered.varying else gathered.own(index)
        stored = whole(own.get(legacy.STORED))
        if legacy.HIGH_BIT in high and whole(high[legacy.HIGH_BIT]) != stored - 1:
            raise RefusedError(
                f"High Bit is {whole(high[legacy.HIGH_BIT])}, and Bits Stored {stored}", code="E_IOD", path=source.path
            )
        most = max(most, stored)
        if legacy.STORED not in gathered.varying and legacy.HIGH_BIT not in gathered.varying:
            break
    legal = enhancing.raised(kind, allocated, most)
    if legal is None:
        allowed = ", ".join(f"{width}/{bits}" for width, bits in kind.formats)
        raise RefusedError(
            f"Bits Allocated and Bits Stored are {allocated}/{most}; enhanced {kind.name} has {allowed}",
            code="E_IOD",
            path=path,
        )
    return legal


def check_contents(gathered: Gathered, *, keep_overlays: bool) -> list[Finding]:
    """Return notes on overlays that are kept. Raises RefusedError for them, and for images that are no single plane."""
    tags = set(gathered.reference) | gathered.varying
    for index, source in enumerate(gathered.sources):
        if "MOSAIC" in words(_get(gathered, index, legacy.IMAGE_TYPE)):
            raise RefusedError("it is a mosaic of planes, not one", code="E_IOD", path=source.path)
        if legacy.IMAGE_TYPE not in gathered.varying:
            break
    found = sorted(tag for tag in tags if _is_graphic(tag))
    if not found:
        return []
    path = _first_with(gathered, found)
    embedded = [tag for tag in found if tag & 0xFFFF == _EMBEDDED and tag & 0xFFFF0000 | _DATA not in tags]
    if embedded or not keep_overlays:
        raise RefusedError(
            "it has overlays, curves or annotations, which enhanced images do not have",
            advice="use `dcmtx convert --overlays extract` first"
            if embedded
            else "--overlays keep leaves them as unassigned attributes",
            code="E_OVERLAY",
            path=path,
        )
    text_of = "overlays, curves or annotations are unassigned attributes, which viewers do not show"
    return [Finding("N_OVERLAYS_KEPT", text_of, Severity.WARNING, tag=found[0])]


def _is_graphic(tag: int) -> bool:
    group = tag >> 16
    return ((group in _OVERLAYS or group in _CURVES) and group % 2 == 0) or tag == _ANNOTATION


def _first_with(gathered: Gathered, tags: Iterable[int]) -> str:
    for index, source in enumerate(gathered.sources):
        if any(_get(gathered, index, tag) is not None for tag in tags):
            return source.path
    return gathered.sources[0].path


def _get(gathered: Gathered, index: int, tag: int) -> bytes | None:
    if tag not in gathered.varying:
        return gathered.reference.get(tag)
    return gathered.own(index).get(tag)
