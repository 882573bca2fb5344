"""The registries: order, limits and their reasons, names, and what happens when a library is missing."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import types
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import dicom
import numpy as np
import pytest
from backends import usable

from dcmtx.codec.registry import Direction, Registry
from dcmtx.codec.row import Limits, Needs, Row
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.errors import UnsupportedError, UsageError
from dcmtx.options import LOSSY_PARAMETERS
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters
from dcmtx.syntax import BIG_ENDIAN, BY_UID, Kind, Loss
from dcmtx.transcoding.transcode import transcode

FORMAT = PixelFormat(16, 16, 1, photometric="MONOCHROME2", allocated=16, stored=12, high_bit=11, signed=False)
COLOUR = PixelFormat(16, 16, 3, photometric="RGB", allocated=8, stored=8, high_bit=7, signed=False)
UID, OTHER = "1.2.3", "1.2.4"

# What pip installs, and the module that comes with it.
MODULES = {
    "imagecodecs": "imagecodecs", "pylibjpeg-libjpeg": "libjpeg", "pylibjpeg-openjpeg": "openjpeg",
    "pylibjpeg-rle": "rle", "pyjpegls": "_CharLS", "isal": "isal",
    "nvidia-nvimgcodec-cu13": "nvidia.nvimgcodec",
    "ojph": "ojph",
}  # fmt: skip
# The two lines of imagecodecs: the last release for Python 3.11, and the first that writes any precision.
OLD, NEW = "2026.3.6", "2026.10.10"
ROWS = [(registry, row) for registry in (DECODERS, ENCODERS) for row in registry.every_row()]


def row_name(value: object) -> str:
    if isinstance(value, Row):
        return f"{value.backend} for {BY_UID[value.syntaxes[-1]].label}"
    return "decoder" if value is DECODERS else "encoder"


each_row = pytest.mark.parametrize(("registry", "row"), ROWS, ids=row_name)


def row(backend: str = "first", call: str = "dcmtx.codec.native:encode", **more) -> Row:
    return Row((UID,), backend, call, needs=Needs(f"{backend}-package", "json"), **more)


# --- choosing ----------------------------------------------------------------------------------------------------


def test_the_first_row_that_fits_is_chosen():
    first, second = row("first", limits=Limits(stored=(13, 16))), row("second")
    registry = Registry(Direction.ENCODE, [first, second])
    assert registry.rows(UID) == (first, second)
    assert registry.choose(UID, "label", FORMAT) is second
    assert registry.choose(UID, "label", FORMAT.replace(stored=16)) is first
    assert Registry(Direction.ENCODE, [second, first]).choose(UID, "label", FORMAT.replace(stored=16)) is second


def test_the_row_of_a_backend_asked_for_is_chosen_or_nothing():
    first, second = row("first"), row("second", limits=Limits(stored=(13, 16)))
    registry = Registry(Direction.DECODE, [first, second])
    assert registry.choose(UID, "label", FORMAT.replace(stored=16), "second") is second
    with pytest.raises(UnsupportedError, match="second: Bits Stored 12") as caught:
        registry.choose(UID, "label", FORMAT, "second")
    assert caught.value.code == "E_LIMIT"
    assert "first" not in str(caught.value)


@pytest.mark.parametrize(("direction", "noun"), [(Direction.DECODE, "decoder"), (Direction.ENCODE, "encoder")])
def test_a_backend_that_does_not_exist_is_a_usage_error_that_names_those_that_do(direction, noun):
    registry = Registry(direction, [row("second"), row("first"), row("first")])
    assert registry.backends() == ["first", "second"]
    with pytest.raises(UsageError, match=f"no {noun} 'third'; there are first, second"):
        registry.choose(UID, "label", FORMAT, "third")


def test_a_backend_that_does_not_know_the_syntax_is_unsupported():
    registry = Registry(Direction.ENCODE, [row("first"), Row((OTHER,), "second", "a:b")])
    with pytest.raises(UnsupportedError, match="second does not encode label") as caught:
        registry.choose(UID, "label", FORMAT, "second")
    assert caught.value.code == "E_UNSUPPORTED"


def test_a_syntax_without_rows_is_unsupported():
    with pytest.raises(UnsupportedError, match=r"does not decode label \(1\.2\.4\)") as caught:
        Registry(Direction.DECODE, [row()]).choose(OTHER, "label", FORMAT)
    assert caught.value.code == "E_UNSUPPORTED_TS"


def test_where_no_row_fits_each_has_its_reason():
    registry = Registry(
        Direction.ENCODE, [row("first", limits=Limits(stored=(1, 8))), row("second", limits=Limits(samples=(3,)))]
    )
    with pytest.raises(UnsupportedError) as caught:
        registry.choose(UID, "label", FORMAT)
    assert caught.value.code == "E_LIMIT"
    assert str(caught.value) == (
        "no codec can encode it as label: first: Bits Stored 12 is not 1 to 8; second: Samples per Pixel 1"
    )


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(), ""),
        (Limits(samples=(3,)), "Samples per Pixel 1"),
        (Limits(stored=(13, 16)), "Bits Stored 12 is not 13 to 16"),
        (Limits(stored=(1, 11)), "Bits Stored 12 is not 1 to 11"),
        (Limits(stored=(12, 12)), ""),
        (Limits(only_stored=(8, 16)), "Bits Stored 12 is not 8 or 16"),
        (Limits(only_stored=(12,)), ""),
        (Limits(allocated=(8, 8)), "Bits Allocated 16 is not 8 to 8"),
        (Limits(allocated=(16, 16)), ""),
        (Limits(smallest_side=17), "16x16 has a side below 17"),
        (Limits(smallest_side=16), ""),
    ],
)
def test_limits_say_what_is_beyond_them(limits, reason):
    assert limits.reason(FORMAT) == reason
    assert row(limits=limits).objection(FORMAT, EncodingParameters()) == reason


@pytest.mark.parametrize(("rows", "columns"), [(8, 64), (64, 8)], ids=["few rows", "few columns"])
def test_the_smallest_side_may_be_either(rows, columns):
    assert (
        Limits(smallest_side=9).reason(FORMAT.replace(rows=rows, columns=columns))
        == f"{rows}x{columns} has a side below 9"
    )


# --- quality -----------------------------------------------------------------------------------------------------


def test_consent_to_loss_chooses_among_the_rows_that_lose():
    lossless, lossy = row("first"), row("second", lossy=True)
    registry = Registry(Direction.ENCODE, [lossless, lossy])
    assert registry.choose(UID, "label", FORMAT) is lossless
    assert registry.choose(UID, "label", FORMAT, quality=EncodingParameters(lossy=True)) is lossy
    with pytest.raises(UnsupportedError, match="second does not encode label"):
        registry.choose(UID, "label", FORMAT, "second")
    with pytest.raises(UnsupportedError) as caught:
        Registry(Direction.ENCODE, [lossless]).choose(UID, "label", FORMAT, quality=EncodingParameters(lossy=True))
    assert caught.value.code == "E_UNSUPPORTED_TS"


def test_decoders_need_no_consent():
    one = row()
    assert Registry(Direction.DECODE, [one]).choose(UID, "label", FORMAT, quality=EncodingParameters(lossy=True)) is one


def test_the_first_row_that_has_what_was_asked_is_chosen():
    first, second = row("first"), row("second", options=frozenset(["predictor"]))
    registry = Registry(Direction.ENCODE, [first, second])
    assert registry.choose(UID, "label", FORMAT) is first
    assert registry.choose(UID, "label", FORMAT, quality=EncodingParameters(predictor=7)) is second
    with pytest.raises(UnsupportedError, match="first: has no --predictor"):
        registry.choose(UID, "label", FORMAT.replace(samples=2), quality=EncodingParameters(predictor=7))


def test_what_no_row_has_is_a_usage_error_that_names_it():
    registry = Registry(Direction.ENCODE, [row("first"), row("second", options=frozenset(["tile"]))])
    with pytest.raises(UsageError, match="first: has no --code-block, --tile; second: has no --code-block"):
        registry.choose(UID, "label", FORMAT, quality=EncodingParameters(tile=64, code_block=32))


def test_what_was_asked_is_what_was_given():
    assert EncodingParameters().asked() == frozenset()
    assert EncodingParameters(lossy=True).asked() == frozenset()
    assert EncodingParameters(lossy=True, near=0, ratio=5.0).asked() == {"near", "ratio"}
    assert {name for name, _ in EncodingParameters().items()} > LOSSY_PARAMETERS


# --- loading -----------------------------------------------------------------------------------------------------


def test_a_row_is_loaded_by_its_name():
    from dcmtx.codec import native

    maker = Registry(Direction.ENCODE, []).load(row(call="dcmtx.codec.native:encode"))
    words = np.arange(256, dtype=np.uint16).reshape(16, 16)
    made = maker.once(words, FORMAT, FORMAT)
    assert maker.stateless
    assert bytes(made) == bytes(native.encode(words, FORMAT, FORMAT, EncodingParameters()))


def test_a_missing_module_names_the_package_to_install_and_no_other_row_takes_its_place():
    missing, present = row("missing", "dcmtx.codec.absent:encode"), row("present")
    registry = Registry(Direction.ENCODE, [missing, present])
    chosen = registry.choose(UID, "label", FORMAT)
    assert chosen is missing
    with pytest.raises(UnsupportedError, match="pip install missing-package") as caught:
        registry.load(chosen)
    assert caught.value.code == "E_BACKEND"
    assert "missing is not installed" in str(caught.value)
    assert isinstance(caught.value.__cause__, ImportError)


@each_row
def test_every_row_of_the_tables_loads(registry, row):
    if not row.is_installed():
        pytest.skip(f"{row.package} is not installed")
    assert registry.load(row).make()
    assert row.package == "dcmtx" or version(row.package)


@pytest.mark.parametrize(
    ("registry", "row"), [pair for pair in ROWS if pair[1].package != "dcmtx"], ids=row_name
)  # fmt: skip
def test_a_missing_library_names_the_package_to_install(registry, row, monkeypatch):
    hide(row.package, monkeypatch)
    with pytest.raises(UnsupportedError, match=re.escape(f"pip install {row.install}")) as caught:
        registry.load(row)
    assert caught.value.code == "E_BACKEND"


def hide(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the library look as if it were not installed."""
    for name in list(sys.modules):
        if name == MODULES[package] or name.startswith(MODULES[package] + "."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, MODULES[package], None)
    if package == "pyjpegls":
        monkeypatch.setitem(sys.modules, "jpeg_ls", None)
        from dcmtx.codec import jpegls

        jpegls._charls.cache_clear()


@pytest.mark.parametrize(("to", "package"), [("j2k", "imagecodecs"), ("jpegls", "pyjpegls"), ("rle", "imagecodecs")])
def test_a_conversion_without_its_library_says_what_to_install(to, package, tmp_path, monkeypatch):
    monkeypatch.setattr("imagecodecs.__version__", OLD)
    hide(package, monkeypatch)
    pixels = np.arange(256, dtype="<u2").tobytes()
    (tmp_path / "in.dcm").write_bytes(dicom.Image(pixels, 16, 16, stored=12).encode())
    with pytest.raises(UnsupportedError, match=f"pip install {package}"):
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to=to)
    assert not (tmp_path / "out.dcm").exists()


def test_the_tables_are_strings_importing_neither_backends_nor_numpy():
    program = (
        "import sys; import dcmtx.codec.table as t; t.ENCODERS.backends();"
        f"print([m for m in {[*MODULES.values(), 'jpeg_ls', 'numpy', 'pydicom', 'pylibjpeg']!r} if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize("package", sorted(MODULES))
def test_loading_a_row_imports_its_own_backend_and_no_other(package):
    pytest.importorskip(MODULES[package])
    program = (
        "import sys; from dcmtx.codec.table import DECODERS as d, ENCODERS as e\n"
        f"for r in (d, e):\n for row in r.every_row():\n  if row.package == {package!r}: r.load(row)\n"
        f"print([m for m in {[*MODULES.values(), 'pydicom', 'pylibjpeg']!r} if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{[MODULES[package]]!r}\n"


# --- the tables --------------------------------------------------------------------------------------------------


@each_row
def test_rows_name_syntaxes_that_can_be_coded(registry, row):
    assert row.syntaxes
    for uid in row.syntaxes:
        assert BY_UID[uid].kind in (Kind.NATIVE, Kind.FRAMES)
    assert row.options <= {name for name, _ in EncodingParameters().items()}
    assert len(set(row.syntaxes)) == len(row.syntaxes)


def test_no_backend_has_two_rows_for_one_syntax_direction_and_loss():
    for registry in (DECODERS, ENCODERS):
        for uid in BY_UID:
            rows = [(one.backend, one.lossy) for one in usable(registry, uid)]
            assert len(rows) == len(set(rows))


def test_for_every_version_of_a_library_there_is_one_row():
    """What one release made needless ends where the other begins: no version is left without, none has two."""
    for registry in (DECODERS, ENCODERS):
        for uid in BY_UID:
            old = [
                (one.backend, one.lossy, one.needs.before)
                for one in registry.rows(uid)
                if one.needs and one.needs.before
            ]
            new = [
                (one.backend, one.lossy, one.needs.since)
                for one in registry.rows(uid)
                if one.needs and one.needs.since and not one.needs.optional
            ]
            assert old == new


def test_rows_lose_only_where_their_syntax_may_and_must_where_it_does():
    assert not any(one.lossy for uid in BY_UID for one in DECODERS.rows(uid))
    for uid, syntax in BY_UID.items():
        for one in ENCODERS.rows(uid):
            assert one.lossy or syntax.loss is not Loss.LOSSY
            assert not one.lossy or syntax.loss in (Loss.LOSSY, Loss.BOTH)
            assert one.lossy or not one.options & LOSSY_PARAMETERS


def test_nothing_retired_is_written_but_big_endian():
    written = [syntax for uid, syntax in BY_UID.items() if ENCODERS.rows(uid) and syntax.retired]
    assert written == [BIG_ENDIAN]


# OpenJPH by itself is brought where Python is new enough.
HTJ2K_ENCODER = "ojph" if find_spec("ojph") else "imagecodecs"
# The backend for a syntax and a format is a promise: the same input gives the same output.
CHOSEN = [
    (ENCODERS, "4.80", FORMAT.replace(stored=16), "imagecodecs"),
    (ENCODERS, "4.80", COLOUR, "imagecodecs"),
    (ENCODERS, "4.90", FORMAT, "imagecodecs"),
    (ENCODERS, "4.201", FORMAT, HTJ2K_ENCODER),
    (ENCODERS, "4.202", COLOUR, HTJ2K_ENCODER),
    (ENCODERS, "4.70", FORMAT, "imagecodecs"),
    (ENCODERS, "5", FORMAT, "imagecodecs"),
    (ENCODERS, "1", FORMAT, "dcmtx"),
    (DECODERS, "4.50", COLOUR, "imagecodecs"),
    (DECODERS, "4.70", FORMAT, "imagecodecs"),
    (DECODERS, "4.81", FORMAT, "imagecodecs"),
    (DECODERS, "4.91", FORMAT, "imagecodecs"),
    (DECODERS, "4.203", FORMAT, "imagecodecs"),
    (DECODERS, "5", FORMAT.replace(allocated=32), "imagecodecs"),
    (DECODERS, "2", FORMAT.replace(allocated=64, stored=64), "dcmtx"),
]


@pytest.mark.parametrize(
    ("registry", "last", "fmt", "backend"), CHOSEN,
    ids=[f"{row_name(registry)} of {BY_UID[f'1.2.840.10008.1.2.{last}'].label}, {fmt.samples}x{fmt.stored} bits"
         for registry, last, fmt, _ in CHOSEN],
)  # fmt: skip
def test_the_preferred_backend(registry, last, fmt, backend):
    assert registry.choose(f"1.2.840.10008.1.2.{last}", "label", fmt).backend == backend


@pytest.mark.parametrize("of", [OLD, NEW])
@pytest.mark.parametrize(("registry", "last", "fmt", "backend"), CHOSEN)
def test_the_preferred_backend_is_the_same_with_either_line_of_imagecodecs(
    registry, last, fmt, backend, of, monkeypatch
):
    monkeypatch.setattr("imagecodecs.__version__", of)
    assert registry.choose(f"1.2.840.10008.1.2.{last}", "label", fmt).backend == backend


@pytest.mark.parametrize(("of", "backend"), [(OLD, "pyjpegls"), (NEW, "imagecodecs")])
@pytest.mark.parametrize("stored", [2, 7, 12, 15])
@pytest.mark.parametrize("lossy", [False, True])
def test_pyjpegls_is_used_only_where_imagecodecs_cannot(of, backend, stored, lossy, monkeypatch):
    monkeypatch.setattr("imagecodecs.__version__", of)
    fmt = FORMAT.replace(stored=stored, high_bit=stored - 1)
    assert ENCODERS.choose(dicom.JPEGLS_NEAR, "label", fmt, quality=EncodingParameters(lossy=lossy)).backend == backend


# --- versions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "old"),
    [("2026.3.6", True), ("2026.10.9", True), ("2026.9.30", True), ("2026.10.10", False), ("2026.10.10.1", False),
     ("2026.10.11rc1", False), ("2027.1", False), ("2026.10", True)],
)  # fmt: skip
def test_a_row_needs_its_version_and_is_superseded_by_another(found, old, monkeypatch):
    monkeypatch.setattr("imagecodecs.__version__", found)
    needs = Needs("imagecodecs", "imagecodecs", since="2026.10.10")
    new = Row((UID,), "imagecodecs", "a:new", needs=needs)
    former = Row((UID,), "imagecodecs", "a:former", needs=needs.replace(since="", before="2026.10.10"))
    assert new.too_old() == (f"needs imagecodecs 2026.10.10, and {found} is installed" if old else "")
    assert former.superseded() is not old
    for rows in ([new, former], [former, new]):
        assert Registry(Direction.ENCODE, rows).choose(UID, "label", FORMAT) is (former if old else new)


def test_what_a_newer_version_could_do_is_refused_with_that_version(monkeypatch):
    monkeypatch.setattr("imagecodecs.__version__", OLD)
    hide("ojph", monkeypatch)
    with pytest.raises(UnsupportedError) as caught:
        ENCODERS.choose(dicom.HTJ2K_LOSSLESS, "HTJ2K", FORMAT, quality=EncodingParameters(code_block=32))
    assert caught.value.code == "E_BACKEND"
    assert f"imagecodecs: needs imagecodecs {NEW}, and {OLD} is installed" in str(caught.value)


def test_an_optional_library_that_is_missing_is_passed_over_unless_it_is_asked_for(monkeypatch):
    hide("ojph", monkeypatch)
    assert ENCODERS.choose(dicom.HTJ2K_LOSSLESS, "HTJ2K", FORMAT).backend == "imagecodecs"
    row = ENCODERS.choose(dicom.HTJ2K_LOSSLESS, "HTJ2K", FORMAT, "ojph")
    with pytest.raises(UnsupportedError, match="pip install ojph") as caught:
        ENCODERS.load(row)
    assert caught.value.code == "E_BACKEND"


def test_what_was_superseded_is_in_no_message(monkeypatch):
    monkeypatch.setattr("imagecodecs.__version__", NEW)
    with pytest.raises(UnsupportedError) as caught:
        ENCODERS.choose(dicom.JPEGLS, "JPEG-LS", FORMAT.replace(stored=1), "imagecodecs")
    assert str(caught.value) == "no codec can encode it as JPEG-LS: imagecodecs: Bits Stored 1 is not 2 to 16"


def test_a_library_that_is_missing_is_not_too_old(monkeypatch):
    hide("imagecodecs", monkeypatch)
    row = ENCODERS.choose(dicom.JPEGLS, "JPEG-LS", FORMAT)
    with pytest.raises(UnsupportedError, match="pip install imagecodecs"):
        ENCODERS.load(row)


def test_the_others_that_could_decode_are_those_that_are_installed_and_within_their_limits(monkeypatch):
    jpegls = [one.backend for one in DECODERS.rows(dicom.JPEGLS)]
    assert jpegls == ["imagecodecs", "pylibjpeg-libjpeg", "pyjpegls"]
    hide("pyjpegls", monkeypatch)
    assert DECODERS.others(dicom.JPEGLS, FORMAT, "imagecodecs") == ["pylibjpeg-libjpeg"]
    assert DECODERS.others(dicom.JPEGLS, FORMAT, "pylibjpeg-libjpeg") == ["imagecodecs"]
    assert DECODERS.others(dicom.JPEGLS, FORMAT.replace(samples=2), "imagecodecs") == []
    assert DECODERS.others(dicom.EXPLICIT, FORMAT, "dcmtx") == []


@pytest.mark.parametrize(("said", "used"), [(b"2.4.2", True), (b"2.4.9", True), (b"2.5.0", False), (b"3.0.0", False),
                                            (b"", False), (None, False)])  # fmt: skip
def test_the_structure_of_charls_is_used_only_with_versions_that_have_it(said, used, monkeypatch):
    """Its C function takes a structure of ours, by address: another version might read it otherwise."""
    charls = pytest.importorskip("_CharLS")
    import ctypes

    from dcmtx.codec import jpegls

    class Function:
        def __call__(self, *_):
            return said

    class Library:
        JpegLsEncode = Function()
        charls_get_version_string = Function()

    monkeypatch.setattr(ctypes, "CDLL", lambda path: Library() if path == charls.__file__ else None)
    jpegls._charls.cache_clear()
    try:
        assert (jpegls._charls() is Library.JpegLsEncode) is used
        if not used:
            monkeypatch.setattr(jpegls, "_encode_locked", lambda *_: b"by the plain function")
            fmt = FORMAT.replace(stored=12)
            words = np.zeros(fmt.shape, np.uint16)
            assert jpegls.encode_pyjpegls(words, fmt, fmt, EncodingParameters()) == b"by the plain function"
    finally:
        jpegls._charls.cache_clear()


def test_the_library_at_hand_is_of_a_version_that_is_known():
    pytest.importorskip("_CharLS")
    from dcmtx.codec import jpegls

    assert jpegls._charls() is not None


@pytest.mark.parametrize(
    ("last", "fmt"),
    [("4.90", FORMAT.replace(allocated=32, stored=21)), ("4.201", FORMAT.replace(allocated=32, stored=17)),
     ("4.80", FORMAT.replace(stored=1)), ("5", FORMAT.replace(allocated=32)), ("4.70", FORMAT.replace(allocated=32))],
    ids=["j2k of 21 bits", "htj2k of 17 bits", "jpegls of 1 bit", "rle of 32 bits allocated",
         "jpeg of 32 bits allocated"],
)  # fmt: skip
def test_what_no_encoder_is_trusted_with(last, fmt):
    with pytest.raises(UnsupportedError) as caught:
        ENCODERS.choose(f"1.2.840.10008.1.2.{last}", "label", fmt)
    assert caught.value.code == "E_LIMIT"


def test_a_library_that_is_installed_meanwhile_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("dcmtx.codec.row.time", types.SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.syspath_prepend(os.fspath(tmp_path))
    needs = Needs("late-codec", "late_codec_for_a_test")
    assert not needs.is_installed()
    (tmp_path / "late_codec_for_a_test.py").touch()
    importlib.invalidate_caches()
    now[0] += 0.5
    assert not needs.is_installed(), "it was looked for again at once"
    now[0] += 0.6
    assert needs.is_installed()
