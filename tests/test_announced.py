"""What a dry run announces, and what changes: the same, by pydicom, element by element, to any depth."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import dicom
import imagecodecs
import numpy as np
import pydicom
import pytest
from conftest import ROOT, Ran, contents
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.values import convert_SQ

from dcmtx import DcmtxError, transcode
from dcmtx.batch.report import changes, steps
from dcmtx.dataset.edit import Remove, Within
from dcmtx.errors import InputError
from dcmtx.place.bytes import open_bytes
from dcmtx.planning.planner import make
from dcmtx.planning.request import Request, resolve
from dcmtx.planning.routes import Route
from dcmtx.policy import EncodingParameters, Icon, Policy, Uid
from dcmtx.transcoding.job import job
from dcmtx.transcoding.running import run
from dcmtx.transcoding.source import open_source

Command = Callable[..., Ran]
# Where an element is: tags of the sequences around it with the numbers of items, and its own.
Path_ = tuple[int, ...]

ICON = 0x00880200
FILES = sorted(path for path in (ROOT / "testdata").glob("*.dcm"))
TARGETS: dict[str, dict[str, object]] = {
    "explicit": {"to": "explicit"}, "implicit": {"to": "implicit"}, "big endian": {"to": "big-endian"},
    "deflated": {"to": "deflated"}, "RLE": {"to": "rle"}, "JPEG-LS": {"to": "jpegls"},
    "RLE without icons": {"to": "rle", "icon": "drop"}, "another UID": {"to": "explicit", "uid": "new"},
    "an extended table": {"to": "htj2k", "offset_table": "extended"},
    "loss": {"to": "j2k", "lossy": True, "ratio": 4},
}  # fmt: skip
# What is asked of pixels, or of the data set beside them.
CHANGES: dict[str, dict[str, object]] = {
    "a palette applied": {"to": "explicit", "apply_palette": True}, "planes": {"to": "implicit", "planar": 1},
    "the other grey": {"to": "big-endian", "photometric": "MONOCHROME1"},
    "an icon": {"to": "implicit", "icon": "generate"}, "small fragments": {"to": "jpegls", "fragment_size": 100},
    "rounded colours": {"to": "explicit", "photometric": "YBR_FULL", "lossy": True},
}  # fmt: skip


# --- what changed ------------------------------------------------------------------------------------------------


def read(data: bytes) -> pydicom.FileDataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(data), force=True)


def raw(ds: Dataset, tag: int) -> tuple[str | None, bytes]:
    """Return the VR that an element is given, if any, and its value with numbers in little endian, unpadded."""
    found = ds._dict[tag]
    if not isinstance(found, RawDataElement):
        # What pydicom has read for itself: the character set, and what others depend on.
        return None, found.value if isinstance(found.value, bytes) else str(found.value).encode()
    value = found.value or b""
    if not found.is_little_endian and found.VR not in (None, "UN"):
        value = dicom.swapped(value, dicom.SWAP.get(found.VR, 1))
    return found.VR, value


def differences(before: Dataset, after: Dataset, path: Path_ = ()) -> Iterator[tuple[Path_, int]]:
    """Yield the elements that one has and the other has not, or that differ in value, or in a VR that both have."""
    held = [dict(before._dict), dict(after._dict)]
    for tag in sorted({*held[0], *held[1]}):
        if tag not in held[0] or tag not in held[1]:
            yield path, int(tag)
            continue
        one, other = raw(before, tag), raw(after, tag)
        sequences = [sequence_of(ds, tag) for ds in (before, after)]
        if any(items is not None for items in sequences):
            sequences = [
                as_sequence(ds, tag) if items is None else items
                for ds, items in zip((before, after), sequences, strict=True)
            ]
        if all(items is not None for items in sequences):
            if len(sequences[0]) != len(sequences[1]):
                yield path, int(tag)
            for items in zip(*sequences, strict=False):
                yield from differences(*items, (*path, int(tag)))
        elif one[1] != other[1] or (None not in (one[0], other[0]) and one[0] != other[0]):
            yield path, int(tag)


def sequence_of(ds: Dataset, tag: int) -> list[Dataset] | None:
    """Return the items of a sequence, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        element = ds[tag]
    return list(element.value) if element.VR == "SQ" else None


def as_sequence(ds: Dataset, tag: int) -> list[Dataset] | None:
    """Return the items of what the other file says is a sequence: Implicit VR says it of no private element."""
    value = ds[tag].value
    return list(convert_SQ(value, True, True)) if isinstance(value, bytes) else None  # implicit, little endian


def meta_differences(before: pydicom.FileDataset, after: pydicom.FileDataset) -> Iterator[int]:
    one, other = before.file_meta, after.file_meta
    yield from (int(tag) for tag in sorted({*one.keys(), *other.keys()}) if one.get(tag) != other.get(tag))


def changed(source: bytes, out: bytes, monkeypatch: pytest.MonkeyPatch) -> set[tuple[Path_, int]]:
    """Return every element that is another: where it is, and its tag."""
    # What was written as UN is looked at as that, whatever pydicom knows of private elements.
    monkeypatch.setattr(pydicom.config, "replace_un_with_known_vr", False)
    before, after = read(source), read(out)
    found = {((), tag) for tag in meta_differences(before, after)} | set(differences(before, after))
    return found | ({((), 0)} if before.original_encoding != after.original_encoding else set())


# --- what was announced ------------------------------------------------------------------------------------------


def announced(lines: list[str]) -> set[tuple[Path_, int]]:
    """Return where the changes of a dry run are, and the tags; 0 is the whole data set."""
    found = set()
    for line in lines:
        if line.startswith("every element is encoded as "):
            found.add(((), 0))
            continue
        match = re.match(r"((?:\([0-9A-F]{4},[0-9A-F]{4}\) > )*)(\([0-9A-F]{4},[0-9A-F]{4}\)) [a-z]", line)
        assert match is not None, line
        tags = [int(text[1:5] + text[6:10], 16) for text in re.findall(r"\([^)]*\)", match[1] + match[2])]
        found.add((tuple(tags[:-1]), tags[-1]))
    return found


def check(source: Path, directory: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> list[str] | None:
    """Plan and convert a file; assert that what was announced is what changed, and return it; None if it is refused."""
    out = directory / "out.dcm"
    before = contents(directory)
    try:
        planned = transcode(source, out, dry_run=True, **options)
        plan = planned.plan
    except DcmtxError as error:
        # What a dry run refuses, the run refuses too.
        with pytest.raises(type(error)):
            transcode(source, out, **options)
        return None
    assert contents(directory) == before
    outcome = transcode(source, out, **options)
    if any("coded without loss" in note.text for note in outcome.notes):
        # Loss would have saved nothing. The dry run said so; what is done then is that without loss.
        assert any("coded without loss" in note.text for note in planned.notes)
        exact = {key: value for key, value in options.items() if key not in ("lossy", "ratio")} | {"force": True}
        plan = transcode(source, out, dry_run=True, **exact).plan
    if plan is None:
        assert out.read_bytes() == source.read_bytes()
        return []
    lines = changes(plan)
    assert len(lines) == len(set(lines))
    said, found = announced(lines), changed(source.read_bytes(), out.read_bytes(), monkeypatch)
    if options.get("icon") == "generate":
        # An icon is replaced as a whole, whatever was in it.
        found = {((), ICON) if path[:1] == (ICON,) else (path, tag) for path, tag in found}
    # New fragments for the same codestreams may be what they were.
    assert said - ({((), dicom.PIXEL_DATA)} if plan.route is Route.REWRAP else set()) <= found
    assert found <= said
    return lines


@pytest.mark.parametrize("options", (TARGETS | CHANGES).values(), ids=list(TARGETS | CHANGES))
@pytest.mark.parametrize("source", FILES, ids=lambda path: path.stem)
def test_what_changes_was_announced_and_nothing_else_was(
    source: Path, options: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (source.stem, options["to"]) == ("ct-private-un", "big-endian"):
        pytest.skip("pydicom takes what UN holds for big endian, which it never is (PS3.5 6.2.2)")
    check(source, tmp_path, monkeypatch, **options)


# File, options, and what the plan says of its pixels; backends are left out.
STEPS: dict[str, tuple[str, dict[str, object], list[str]]] = {
    "native to native": ("ct-explicit", {"to": "implicit"}, ["route: carry: native pixels stay what they are"]),
    "no pixels": ("sr-text", {"to": "implicit"}, ["route: no pixels: the data set is encoded anew"]),
    "native to RLE": (
        "ct-explicit", {"to": "rle"},
        ["route: recode", "decode", "encode, without loss", "verify", "offset table: basic"],
    ),
    "unverified": (
        "ct-explicit", {"to": "rle", "verify": False, "offset_table": "empty"},
        ["route: recode", "decode", "encode, without loss"],
    ),
    "words to values": (
        "ct-explicit", {"to": "jpegls", "unused_bits": "keep"},
        ["route: recode", "decode", "content outside Bits Stored: keep", "encode, without loss", "verify",
         "offset table: basic"],
    ),
    "loss": (
        "ct-explicit", {"to": "jpegls", "lossy": True, "offset_table": "extended"},
        ["route: recode", "decode", "content outside Bits Stored: refuse", "encode, with loss", "verify",
         "offset table: extended"],
    ),
    "an overlay": (
        "mr-overlay-bit-15", {"to": "rle"},
        ["route: recode", "decode", "extract overlays: 6000 from bit 15", "encode, without loss", "verify",
         "offset table: basic"],
    ),
    "colour": (
        "us-jpeg-baseline", {"to": "explicit"},
        ["route: recode", "decode", "colour: YBR_FULL_422 to RGB", "encode, without loss", "verify"],
    ),
    "bits": (
        "seg-binary", {"to": "rle", "one_bit": "allow"},
        ["route: recode", "decode", "encode, without loss", "verify", "offset table: basic"],
    ),
    "bits to native": ("", {"to": "explicit"}, ["route: recode", "decode", "encode, without loss", "verify"]),
    "JPEG recompressed": (
        "us-jpeg-baseline", {"to": "jpegxl-jpeg"},
        ["route: recompress: JPEG streams stay what they are, bit for bit", "encode, without loss", "verify",
         "offset table: basic"],
    ),
    "a palette": (
        "us-palette-8", {"to": "explicit", "apply_palette": True},
        ["route: recode", "decode", "content outside Bits Stored: refuse", "palette: PALETTE COLOR to RGB of 8 bits",
         "encode, without loss", "verify"],
    ),
    "the other grey": (
        "mr-big-endian", {"to": "rle", "photometric": "MONOCHROME1"},
        ["route: recode", "decode", "content outside Bits Stored: refuse", "inverted: MONOCHROME2 to MONOCHROME1",
         "encode, without loss", "verify", "offset table: basic"],
    ),
    "rounded colours": (
        "us-rgb-by-pixel", {"to": "explicit", "photometric": "YBR_FULL_422", "lossy": True},
        ["route: recode", "decode", "content outside Bits Stored: refuse", "colour: RGB to YBR_FULL",
         "colour: YBR_FULL to YBR_FULL_422", "encode, without loss", "verify"],
    ),
    "fragments of some size": (
        "ct-jpegls", {"to": "jpegls", "fragment_size": 100},
        ["route: rewrap: codestreams stay what they are, in new fragments", "offset table: basic",
         "fragments: of 100 bytes at most"],
    ),
    "new fragments": (
        "ct-rle", {"to": "rle", "offset_table": "extended"},
        ["route: rewrap: codestreams stay what they are, in new fragments", "offset table: extended"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "options", "wanted"), STEPS.values(), ids=list(STEPS))
def test_a_plan_says_step_by_step_what_becomes_of_the_pixels(
    name: str, options: dict[str, object], wanted: list[str], tmp_path: Path
) -> None:
    source = ROOT / "testdata" / f"{name}.dcm"
    if not name:
        source = tmp_path / "bits.dcm"
        transcode(ROOT / "testdata" / "seg-binary.dcm", source, to="rle", one_bit="allow")
    plan = transcode(source, tmp_path / "out.dcm", dry_run=True, **options).plan
    assert plan is not None
    told = [re.sub(r"^(decode|encode|verify) by [\w-]+(, with(?:out)? loss)?.*", r"\1\2", line) for line in steps(plan)]
    assert told == wanted


def test_a_plan_names_the_steps_that_bits_need(tmp_path: Path) -> None:
    pixels = (np.arange(64) * 61 % 4096 << 4).astype("<u2").tobytes()
    image = dicom.Image(pixels, 8, 8, stored=12, high_bit=15)
    (tmp_path / "in.dcm").write_bytes(image.encode())
    plan = transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="jpegls", dry_run=True).plan
    assert plan is not None
    assert "High Bit: 15 to 11" in steps(plan)
    assert [type(step).__name__ for step in plan.steps] == [
        "Decode",
        "LowerHighBit",
        "SettleUnused",
        "Encode",
        "Verify",
    ]


def test_a_plan_has_all_edits_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "in.dcm").write_bytes(odd(dicom.EXPLICIT))
    file = open_bytes(str(tmp_path / "in.dcm"))
    try:
        source = open_source(file)
        request = Request(resolve("jpegls", EncodingParameters()), Policy(icon=Icon.DROP, uid=Uid.NEW))
        plan = make(source.dataset, source.frames, request)
    finally:
        file.close()
    edit = plan.edits[0x00081140]
    assert isinstance(edit, Within)
    assert [change.describe() for change in edit.changes] == ["icons are left out"]
    assert plan.edits[0xFFFCFFFC] == Remove(0xFFFCFFFC)
    meta = read(plan.file_meta + dicom.walk(odd(dicom.EXPLICIT)).dataset).file_meta
    assert (meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID) == (dicom.JPEGLS, plan.instance)


# --- what the files at hand do not have ----------------------------------------------------------------------------


def group_length(group: int, syntax: str) -> bytes:
    return dicom.element(group << 16, "UL", [8], syntax)


def odd(syntax: str) -> bytes:
    """Return an image with group lengths and an icon deep inside sequences, stale tables, and padding behind it."""
    described = dicom.Image(bytes(16), 4, 4, allocated=8, stored=8, syntax=syntax).elements()
    icon = [element for tag, element in described.items() if tag >> 16 == 0x0028]
    pixels = dicom.element(dicom.PIXEL_DATA, "OW" if syntax == dicom.IMPLICIT else "OB", bytes(16), syntax)
    inner = dicom.sequence(0x00880200, [b"".join([group_length(0x0028, syntax), *icon, pixels])], syntax)
    item = group_length(0x0008, syntax) + dicom.element(0x00081150, "UI", "1.2.3", syntax) + inner
    image = dicom.Image(
        (np.arange(64) * 601 % 4096).astype("<u2").tobytes(),
        stored=12,
        syntax=syntax,
        before={
            0x00080018: dicom.element(0x00080018, "UI", "1.2.3.44", syntax),
            0x00080000: group_length(0x0008, syntax),
            0x00081140: dicom.sequence(0x00081140, [item, item], syntax, undefined=True),
            0x00280008: dicom.element(0x00280008, "IS", "0", syntax),
            # Neither pixels nor a group length, though it looks so.
            0x00081155: dicom.sequence(
                0x00081199, [dicom.element(0x00081150, "UT" if syntax != dicom.IMPLICIT else "", LOOKS, syntax)], syntax
            ),
        },
        behind=[dicom.element(0xFFFCFFFC, "OB", bytes(10), syntax)],
        meta=[dicom.element(0x00020013, "SH", "OTHER 1.0"), dicom.element(0x00020016, "AE", "MODALITY")],
    )
    return image.encode()


LOOKS = b"\x08\0\0\0UL\x04\0\x01\0\0\0\xe0\x7f\x10\0\x08\0\0\0\x04\0\0\0\x01\0\0\0\0\x08\0\0UL\0\x04\x7f\xe0\0\x10"


@pytest.mark.parametrize("options", TARGETS.values(), ids=list(TARGETS))
@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN])
def test_what_is_odd_is_announced_too(
    syntax: str, options: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.dcm").write_bytes(odd(syntax))
    lines = check(tmp_path / "in.dcm", tmp_path, monkeypatch, force=True, **options)
    assert lines is not None
    for line in (
        "(0008,0000) removed",
        "(0008,1140) > (0008,0000) removed",
        "(0028,0008) becomes 1",
        "(FFFC,FFFC) removed",
        "(0002,0003) becomes 1.2.3.44" if "uid" not in options and "lossy" not in options else "",
        "(0008,1140) > (0088,0200) removed" if "icon" in options else "(0008,1140) > (0088,0200) > (0028,0000) removed",
    ):
        assert not line or line in lines
    assert not [line for line in lines if line.startswith("(0008,1199)")]


def test_an_icon_that_would_stop_the_run_stops_the_dry_run(tmp_path: Path) -> None:
    icon = [
        *(dicom.element(tag, "US", value) for tag, value in ((0x00280002, 1), (0x00280010, 4), (0x00280011, 4))),
        *(dicom.element(0x00280100 + number, "US", value) for number, value in enumerate((8, 8, 7, 0))),
        dicom.encapsulated([b"no codestream"]),
    ]
    icon.insert(1, dicom.element(0x00280004, "CS", "MONOCHROME2"))
    image = dicom.Image(
        [imagecodecs.jpegls_encode(np.zeros((8, 8), "<u2"))],
        syntax=dicom.JPEGLS,
        before={0x00880200: dicom.sequence(0x00880200, [b"".join(icon)])},
    )
    (tmp_path / "in.dcm").write_bytes(image.encode())
    with pytest.raises(InputError, match="icon"):
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="explicit", dry_run=True)
    assert transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="explicit", dry_run=True, icon="drop").plan


def test_what_is_planned_for_a_resumed_batch_leaves_out_what_is_inside(tmp_path: Path) -> None:
    (tmp_path / "in.dcm").write_bytes(odd(dicom.EXPLICIT))
    brief = job(tmp_path / "in.dcm", tmp_path / "out.dcm", to="rle", dry_run=True).replace(brief=True)
    outcome = run(brief)
    assert outcome.syntax_out == dicom.RLE
    assert outcome.plan is not None
    assert outcome.plan.details == ()


def test_a_dry_run_on_the_command_line_says_what_changes_inside(tmp_path: Path, command: Command) -> None:
    (tmp_path / "in.dcm").write_bytes(odd(dicom.IMPLICIT))
    ran = command(tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "explicit", "--dry-run")
    assert ran.status == 0
    for line in (
        "  every element is encoded as Explicit VR Little Endian, not Implicit VR Little Endian (private",
        "  (0008,1140) > (0088,0200) > (0028,0000) removed\n",
        "  (0002,0013) becomes DCMTX_",
    ):
        assert line in ran.out
