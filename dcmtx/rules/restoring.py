"""What a frame of a multi-frame instance is as an image of its own (PS3.4 C.3.5, Y.3.3; PS3.3 C.7.6.16).

Pure: the elements of the top level and of the items of functional groups in, those of a single-frame image out.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from dcmtx.dataset.compose import creator, decimal, items_within, made, numbers, tags_of, text, value, whole
from dcmtx.record import Record
from dcmtx.rules import legacy
from dcmtx.rules.legacy import GROUPS, ROOT

Elements = Mapping[int, bytes]

# Enhanced classes, and the classic ones of their frames.
ENHANCED: dict[str, str] = {
    f"{ROOT}.2.1": f"{ROOT}.2", f"{ROOT}.4.1": f"{ROOT}.4", f"{ROOT}.130": f"{ROOT}.128",
    f"{ROOT}.12.1.1": f"{ROOT}.12.1", f"{ROOT}.12.2.1": f"{ROOT}.12.2",
}  # fmt: skip
# Classes without functional groups, and the classes of single frames.
PLAIN: dict[str, str] = {
    f"{ROOT}.3.1": f"{ROOT}.6.1", f"{ROOT}.6.1": f"{ROOT}.6.1",
    f"{ROOT}.7": f"{ROOT}.7", f"{ROOT}.7.1": f"{ROOT}.7", f"{ROOT}.7.2": f"{ROOT}.7", f"{ROOT}.7.3": f"{ROOT}.7",
    f"{ROOT}.7.4": f"{ROOT}.7", f"{ROOT}.12.1": f"{ROOT}.12.1", f"{ROOT}.12.2": f"{ROOT}.12.2",
    f"{ROOT}.20": f"{ROOT}.20", f"{ROOT}.481.1": f"{ROOT}.481.1", f"{ROOT}.481.2": f"{ROOT}.481.2",
}  # fmt: skip
MR_ENHANCED = f"{ROOT}.4.1"
_DOSE = f"{ROOT}.481.2"

# What one frame has not: numbers and times of frames, cine, dimensions, concatenations, evidence.
_OF_SEVERAL = frozenset([
    legacy.FRAMES, 0x00280009, 0x00181063, 0x00181065, 0x00081163, 0x00081244, 0x00082142, 0x00082143, 0x00082144,
    0x00180040, 0x00180072, 0x00181242, legacy.ORGANIZATIONS, legacy.INDICES, legacy.ORGANIZATION, 0x00200242,
    0x00209161, 0x00209162, 0x00209163, 0x00209228, 0x0020930C, legacy.IMAGE_EVIDENCE, legacy.SOURCE_EVIDENCE,
    legacy.SHARED_GROUPS, legacy.FRAME_GROUPS, 0x00286010,
])  # fmt: skip
# Vectors with a value per frame.
_VECTORS = frozenset([
    0x00181065, 0x00182001, 0x00182002, 0x00182003, 0x00182004, 0x00182005, 0x00182006, 0x00186060, 0x00540010,
    0x00540020, 0x00540030, 0x00540050, 0x00540060, 0x00540070, 0x00540080, 0x00540090, 0x00540100, 0x3004000C,
])  # fmt: skip
_OFFSETS = 0x3004000C
# Groups that are themselves the attribute of a classic image.
_WHOLE = frozenset([legacy.REFERENCED_IMAGE, 0x00409096])
# A private sequence of Philips, with the attributes of the classic image.
_PHILIPS = 0x2005140F
_LEGACY_ONLY = frozenset([legacy.UNASSIGNED_SHARED, legacy.UNASSIGNED, legacy.CONVERSION])


class Provenance(Record):
    """What our block says of an instance that we made: what was added and made, and a digest per frame."""

    added: frozenset[int]
    made: frozenset[int]
    digests: bytes

    def of(self, number: int) -> bytes:
        """Return the byte of the VR and the digest of a frame (0-based)."""
        start = number * legacy.DIGEST_BYTES
        return self.digests[start : start + legacy.DIGEST_BYTES]


def provenance(top: Elements) -> Provenance | None:
    """Return our block, None where there is none."""
    if text(top.get(legacy.CREATOR_TAG)) != legacy.CREATOR:
        return None
    return Provenance(
        tags_of(top.get(legacy.ADDED)), tags_of(top.get(legacy.MADE_IN_GROUPS)), value(top.get(legacy.DIGESTS))
    )


# --- legacy converted ------------------------------------------------------------------------------------------


def restored(top: Elements, shared: Elements, frame: Elements, told: Provenance | None) -> dict[int, bytes]:
    """Return the classic image that a frame of a Legacy Converted Enhanced instance was made of.

    `shared` and `frame` are the functional groups. Without our block, what others have added stays.
    """
    drop = (legacy.ANEW | _OF_SEVERAL) - {legacy.EQUIPMENT} if told is None else legacy.ANEW | told.added | legacy.BLOCK
    anew = frozenset[int]() if told is None else told.made
    found = {tag: element for tag, element in top.items() if tag not in drop}
    types: list[str] = []
    for groups in (shared, frame):
        for tag, group in groups.items():
            if tag in _LEGACY_ONLY:
                continue
            if told is None and tag not in GROUPS:
                types = _flatten(tag, group, found) or types
            elif tag in GROUPS:
                _return(tag, group, found, anew)
    for tag, groups in ((legacy.UNASSIGNED_SHARED, shared), (legacy.UNASSIGNED, frame)):
        for part in items_within(groups.get(tag)):
            found.update(part)
    if told is None and legacy.IMAGE_TYPE not in found and types:
        found[legacy.IMAGE_TYPE] = made(legacy.IMAGE_TYPE, b"CS", "\\".join(types))
    _identify(frame, found)
    return found


def _identify(frame: Elements, found: dict[int, bytes]) -> None:
    """Give a frame the class and the UID that it had."""
    pairs = ((legacy.SOP_CLASS, legacy.REFERENCED_CLASS), (legacy.SOP_INSTANCE, legacy.REFERENCED_INSTANCE))
    for part in items_within(frame.get(legacy.CONVERSION)):
        found.update({tag: made(tag, b"UI", text(part[source])) for tag, source in pairs if source in part})


def _return(tag: int, group: bytes, found: dict[int, bytes], anew: frozenset[int]) -> None:
    """Put what a group took back to the top level."""
    if tag in _WHOLE:
        if tag not in anew:
            found[tag] = group
        return
    for part in items_within(group):
        found.update({inner: part[inner] for inner in GROUPS[tag] if inner in part and inner not in anew})


# --- enhanced ----------------------------------------------------------------------------------------------------


def flattened(top: Elements, shared: Elements, frame: Elements, class_uid: str) -> dict[int, bytes]:
    """Return a frame of an enhanced instance as a classic image: all functional groups at top level."""
    found = {tag: element for tag, element in top.items() if tag not in _OF_SEVERAL}
    types: list[str] = []
    for groups in (shared, frame):
        for tag, group in groups.items():
            types = _flatten(tag, group, found) or types
    if types:
        found[legacy.IMAGE_TYPE] = made(legacy.IMAGE_TYPE, b"CS", "\\".join(types))
    if class_uid == MR_ENHANCED:
        _classic_mr(found)
    return found


def _flatten(tag: int, group: bytes, found: dict[int, bytes]) -> list[str]:
    """Put the attributes of a group at top level; return the frame type, if it has one."""
    if tag in _WHOLE or tag >> 16 & 1:
        if tag == _PHILIPS:
            _fill(group, found)
        else:
            found[tag] = group
        return []
    types: list[str] = []
    for part in items_within(group):
        if tag == legacy.CONTENT:
            _from_content(part, found)
        else:
            types = text(part.get(legacy.FRAME_TYPE)).split("\\") if legacy.FRAME_TYPE in part else types
            found.update({inner: element for inner, element in part.items() if inner != legacy.FRAME_TYPE})
        # One item is what one image can have of most groups.
        break
    return types


def _fill(group: bytes, found: dict[int, bytes]) -> None:
    """Take what Philips tells of the classic image, where the standard's groups have nothing of it."""
    for part in items_within(group):
        for tag, element in part.items():
            owner = creator(tag)
            if owner is None:
                # A creator comes with the first element of its block.
                if not tag >> 16 & 1:
                    found.setdefault(tag, element)
            elif owner in part and found.setdefault(owner, part[owner]) == part[owner]:
                found.setdefault(tag, element)


def _from_content(part: Elements, found: dict[int, bytes]) -> None:
    """Take times and numbers of a frame from its Frame Content."""
    moment = text(part.get(legacy.FRAME_DATETIME))
    if moment:
        found[legacy.ACQUISITION_DATE] = made(legacy.ACQUISITION_DATE, b"DA", moment[:8])
        clock = moment[8:].partition("+")[0].partition("-")[0]
        if clock:
            found[legacy.ACQUISITION_TIME] = made(legacy.ACQUISITION_TIME, b"TM", clock)
    if 0x00209156 in part:
        found[0x00200012] = made(0x00200012, b"IS", str(whole(part[0x00209156])))
    if legacy.TIME_INDEX in part:
        index = int.from_bytes(value(part[legacy.TIME_INDEX])[:4], "little")
        found.setdefault(legacy.TEMPORAL, made(legacy.TEMPORAL, b"IS", str(index)))
    for tag in (0x00209158,):
        if tag in part:
            found[0x00204000] = made(0x00204000, b"LT", value(part[tag]))


# --- MR ----------------------------------------------------------------------------------------------------------

# Attribute of a pulse sequence, the values of it that count, and the term of the classic attribute.
_SEQUENCE = (
    (0x00189008, ("SPIN",), "SE"), (0x00189008, ("GRADIENT",), "GR"), (0x00189008, ("BOTH",), "SE\\GR"),
    (0x00189009, ("YES",), "IR"), (0x00189018, ("YES",), "EP"),
)  # fmt: skip
_VARIANT = (
    (0x00189033, ("PARTIAL", "FULL"), "SK"), (0x00189020, ("ON_RESONANCE", "OFF_RESONANCE", "BOTH"), "MTC"),
    (0x00189017, ("FREE_PRECESSION", "TRANSVERSE", "LONGITUDINAL"), "SS"), (0x00189017, ("TIME_REVERSED",), "TRSS"),
    (0x00189016, ("RF", "GRADIENT", "RF_AND_GRADIENT"), "SP"), (0x00189029, ("2D", "3D", "2D_3D"), "OSP"),
)  # fmt: skip
_OPTIONS = (
    (0x00189034, ("CENTRIC", "SEGMENTED", "REVERSE_LINEAR", "REVERSE_CENTRIC"), "PER"),
    (0x00189170, ("BREATH_HOLD", "REALTIME", "GATING", "TRACKING", "PHASE_ORDERING", "PHASE_SCANNING"), "RG"),
    (0x00189037, ("REALTIME", "PROSPECTIVE", "RETROSPECTIVE", "PACED"), "CG"),
    (0x00189010, ("ACCELERATION", "VELOCITY", "OTHER"), "FC"), (0x00189027, ("SLAB",), "SP"),
    (0x00189025, ("FAT", "FAT_AND_WATER"), "FS"),
)  # fmt: skip
_EFFECTIVE_ECHO = 0x00189082
_PARTIAL, _PARTIAL_DIRECTION = 0x00189081, 0x00189036


def _classic_mr(found: dict[int, bytes]) -> None:
    """Add the attributes of the MR Image Module that enhanced MR tells in others (PS3.3 C.8.3.1, C.8.13)."""
    echo = value(found.get(_EFFECTIVE_ECHO))
    if len(echo) >= 8:
        found[legacy.ECHO_TIME] = made(legacy.ECHO_TIME, b"DS", decimal(struct.unpack("<d", echo[:8])[0]))
    options = _terms(found, _OPTIONS)
    if text(found.get(_PARTIAL)) == "YES":
        direction = text(found.get(_PARTIAL_DIRECTION))
        options += ["PFP"] * (direction in ("PHASE", "COMBINATION")) + ["PFF"] * (
            direction in ("FREQUENCY", "COMBINATION")
        )
    for tag, terms, default in (
        (0x00180020, _terms(found, _SEQUENCE), "RM"), (0x00180021, _terms(found, _VARIANT), "NONE"),
        (0x00180022, options, ""),
    ):  # fmt: skip
        if tag not in found:
            found[tag] = made(tag, b"CS", "\\".join(terms) or default)
    if 0x00180091 not in found:
        found[0x00180091] = made(0x00180091, b"IS", b"")


def _terms(found: Elements, rows: Sequence[tuple[int, tuple[str, ...], str]]) -> list[str]:
    return [term for tag, values, term in rows if text(found.get(tag)) in values]


# --- one frame of any ----------------------------------------------------------------------------------------------


def alone(top: Elements, number: int, class_uid: str) -> dict[int, bytes]:
    """Return frame `number` (0-based) of an image without functional groups as an image of one frame."""
    pointed = tags_of(top.get(0x00280009))
    found = {tag: element for tag, element in top.items() if tag not in _OF_SEVERAL | _VECTORS and tag not in pointed}
    if class_uid == _DOSE and _OFFSETS in top:
        _move_dose(top, number, found)
    return found


def _move_dose(top: Elements, number: int, found: dict[int, bytes]) -> None:
    """Put the position of a plane of dose where it is (PS3.3 C.8.8.3.2)."""
    offsets, origin = numbers(top.get(_OFFSETS)), numbers(top.get(legacy.POSITION))
    cosines = numbers(top.get(legacy.ORIENTATION))
    if number >= len(offsets) or len(origin) != 3 or len(cosines) != 6:
        return
    if offsets[0] == 0:
        from dcmtx.rules.geometry import normal

        position = [start + offsets[number] * cosine for start, cosine in zip(origin, normal(cosines), strict=True)]
    else:
        # They are positions along z.
        position = [origin[0], origin[1], offsets[number]]
    found[legacy.POSITION] = made(legacy.POSITION, b"DS", "\\".join(decimal(round(part, 6)) for part in position))


def same_class(top: Elements, frame: bytes | None, number: int) -> dict[int, bytes]:
    """Return frame `number` (0-based) in an instance of the same class; `frame` is its encoded item (PS3.4 Y.3.3)."""
    from dcmtx.dataset.compose import sequence

    found = dict(top)
    found[legacy.FRAMES] = made(legacy.FRAMES, b"IS", "1")
    if frame is not None:
        found[legacy.FRAME_GROUPS] = sequence(legacy.FRAME_GROUPS, frame)
    for tag in _VECTORS & found.keys():
        width = {b"US": 2, b"UL": 4, b"FD": 8, b"FL": 4}.get(found[tag][4:6])
        data = value(found[tag])
        if width is not None:
            found[tag] = made(tag, found[tag][4:6], data[number * width : (number + 1) * width])
        else:
            found[tag] = made(tag, found[tag][4:6], (data.split(b"\\")[number : number + 1] or [b""])[0].strip())
    return found


def with_plane(found: dict[int, bytes], number: int) -> dict[int, bytes]:
    """Return the elements with the planes of multi-frame overlays that lie on this frame (PS3.3 C.9.2)."""
    for group in range(0x6000, 0x6020, 2):
        base = group << 16
        if base | 0x0015 not in found:
            continue
        count = int((numbers(found.pop(base | 0x0015)) or (0,))[0])
        origin = found.pop(base | 0x0051, None)
        plane = number - ((whole(origin) or 1) - 1)
        data = value(found.get(base | 0x3000))
        bits = whole(found.get(base | 0x0010)) * whole(found.get(base | 0x0011))
        if not 0 <= plane < count or not data:
            for tag in [tag for tag in found if tag >> 16 == group]:
                del found[tag]
            continue
        first = plane * bits
        piece = int.from_bytes(data[first // 8 : (first + bits + 7) // 8], "little") >> first % 8 & (1 << bits) - 1
        found[base | 0x3000] = made(base | 0x3000, b"OW", piece.to_bytes((bits + 15) // 16 * 2, "little"))
    return found
