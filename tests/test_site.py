"""What a site decides once: rules by file, what they look at, and the options about whole files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import batches
import dicom
import numpy as np
import pytest
from conftest import ROOT, Ran, spawn

import dcmtx
from dcmtx.errors import UsageError
from dcmtx.planning.site import Action, Condition, Facts, Rule, SitePolicy
from dcmtx.planning.site_file import read
from dcmtx.syntax import SYNTAXES, Syntax

Run = Callable[..., Ran]
TESTDATA = ROOT / "testdata"
FACTS = Facts(
    modality="CT", sop_class=("1.2.840.10008.5.1.4.1.1.2", "CTImageStorage"),
    syntax=("1.2.840.10008.1.2.1", "explicit"),
    photometric="MONOCHROME2", manufacturer="ACME Medical", bits=12, frames=1, size=500_000, lossy=False,
)  # fmt: skip


def policy(tmp_path: Path, text: str) -> Path:
    (tmp_path / "site.toml").write_text(text)
    return tmp_path / "site.toml"


# --- conditions ------------------------------------------------------------------------------------------------------

CONDITIONS = [
    ('modality = "CT"', True), ('modality = "MR"', False), ('modality = ["MR", "CT"]', True),
    ('modality = "!CT"', False), ('modality = ["C*", "!CR"]', True), ('modality = ["!MR", "!US"]', True),
    ('modality = "ct"', True),
    ('sop_class = "CTImageStorage"', True), ('sop_class = "1.2.840.10008.5.1.4.1.1.2"', True),
    ('sop_class = "*Enhanced*"', False), ('syntax = "explicit"', True), ('syntax = "1.2.840.10008.1.2.4.*"', False),
    ('photometric = "MONO*"', True), ('manufacturer = "acme*"', True), ('manufacturer = "!*medical"', False),
    ("bits = 12", True), ("bits = 8", False), ('bits = ">8"', True), ('bits = ">12"', False), ('bits = ">=12"', True),
    ('bits = "<12"', False), ('bits = "<=12"', True), ('bits = "9..12"', True), ('bits = "13..16"', False),
    ('frames = "=1"', True), ('size = "<1MB"', True), ('size = ">=1MiB"', False), ('size = "100kB..1MB"', True),
    ("lossy = false", True), ("lossy = true", False), ('modality = "CT", bits = 8', False),
]  # fmt: skip


@pytest.mark.parametrize(("when", "holds"), CONDITIONS, ids=[when for when, _ in CONDITIONS])
def test_a_rule_holds_if_all_its_conditions_do(when: str, holds: bool, tmp_path: Path) -> None:
    site = read(str(policy(tmp_path, f'[[rule]]\nwhen = {{ {when} }}\ndo = "keep"\n')))
    assert (site.decide(FACTS) is not None) == holds


def test_the_first_rule_that_holds_decides() -> None:
    rules = (
        Rule("other", (Condition("modality", ("MR",)),), action=Action.SKIP),
        Rule("first", (Condition("modality", ("CT",)),), action=Action.KEEP),
        Rule("second", action=Action.REFUSE),
    )
    decided = SitePolicy("-", rules).decide(FACTS)
    assert decided is not None
    assert decided.name == "first"


WRONG = {
    "no TOML": ("[[rule", "is not TOML"),
    "no rule": ("", "has no [[rule]]"),
    "something else": ('[[rule]]\nto = "rle"\n[other]\n', "has other, which is not known"),
    "neither to nor do": ("[[rule]]\n", "rule 1: it needs either to"),
    "both": ('[[rule]]\nto = "rle"\ndo = "keep"\n', "it needs either to"),
    "another deed": ('[[rule]]\ndo = "delete"\n', "do is 'delete'"),
    "a target that is none": ('[[rule]]\nto = "nothing"\n', "there is no transfer syntax"),
    "loss without consent": ('[[rule]]\nto = "j2k"\nratio = 10\n', "would lose information"),
    "a parameter that the target has not": ('[[rule]]\nto = "rle"\npredictor = 2\n', "does not go with rle"),
    "a key that is none": ('[[rule]]\nto = "rle"\ncolour = 2\n', "there is no colour"),
    "a condition that is none": ('[[rule]]\nwhen = { station = "A" }\ndo = "keep"\n', "there is no condition station"),
    "a text that is none": ('[[rule]]\nwhen = { modality = 3 }\ndo = "keep"\n', "modality is 3"),
    "a bound that is none": ('[[rule]]\nwhen = { bits = ">many" }\ndo = "keep"\n', "not a number or a bound"),
    "a flag that is none": ('[[rule]]\nwhen = { lossy = "yes" }\ndo = "keep"\n', "not true or false"),
    "a number that is a flag": ('[[rule]]\nwhen = { bits = true }\ndo = "keep"\n', "not a number or a bound"),
    "a number as consent": ('[[rule]]\nto = "jpeg"\nlossy = 1\n', "lossy is 1, not true or false"),
    "a text as consent": ('[[rule]]\nto = "jpeg"\nlossy = "false"\n', "lossy is 'false', not true or false"),
    "a text as consent to a quality": ('[[rule]]\nto = "jpeg"\nlossy = "true"\nquality = 9\n', "not true or false"),
    "a quality without consent": (
        '[[rule]]\nto = "jpeg"\nquality = 90\n',
        "quality would lose information; write lossy = true to consent",
    ),
    "a choice that is a number and none": (
        '[[rule]]\nto = "jpeg"\nlossy = true\nsubsampling = 411\n',
        "is '411', not one of 444, 422, 420",
    ),
    "a choice that is a flag": ('[[rule]]\nto = "jpeg"\nlossy = true\nsubsampling = true\n', "is True, not one of"),
    "a syntax that is none": (
        '[[rule]]\nwhen = { syntax = "jpgls" }\ndo = "keep"\n',
        "there is no transfer syntax 'jpgls'",
    ),
    "a syntax that is none among others": (
        '[[rule]]\nwhen = { syntax = ["rle", "!jpgls"] }\ndo = "keep"\n',
        "there is no transfer syntax 'jpgls'",
    ),
    "a SOP class that is none": (
        '[[rule]]\nwhen = { sop_class = "CTImageStrage" }\ndo = "keep"\n',
        "there is no SOP class 'CTImageStrage'",
    ),
    "a syntax as a SOP class": (
        '[[rule]]\nwhen = { sop_class = "RLELossless" }\ndo = "keep"\n',
        "there is no SOP class 'RLELossless'",
    ),
    "a UID that is none": ('[[rule]]\nwhen = { sop_class = "1.02" }\ndo = "keep"\n', "there is no SOP class '1.02'"),
    "a reversed range": (
        '[[rule]]\nwhen = { bits = "12..9" }\ndo = "keep"\n',
        """bits is '12..9', which nothing is in; write "9..12\"""",
    ),
    "a reversed range of sizes": ('[[rule]]\nwhen = { size = "1MB..1kB" }\ndo = "keep"\n', 'write "1kB..1MB"'),
    "a range without an end": ('[[rule]]\nwhen = { bits = "9.." }\ndo = "keep"\n', "not a number or a bound"),
    "rules behind one without conditions": (
        '[[rule]]\nwhen = {}\ndo = "keep"\n[[rule]]\ndo = "skip"\n',
        "it has no condition",
    ),
    "rules behind one for all": ('[[rule]]\ndo = "keep"\n[[rule]]\ndo = "skip"\n', "no rule after it ever counts"),
}


@pytest.mark.parametrize(("text", "what"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_policy_is_one_line_before_anything_is_done(
    text: str, what: str, tmp_path: Path, command: Run
) -> None:
    file = policy(tmp_path, text)
    ran = command(TESTDATA / "ct-explicit.dcm", tmp_path / "out.dcm", "--policy", file)
    assert ran.status == 2
    assert what in ran.line
    assert str(file) in ran.line
    assert not (tmp_path / "out.dcm").exists()


KNOWN = [
    'syntax = "jpegls"', 'syntax = "JPEGLS"', 'syntax = "HTJ2KLossless"', 'syntax = "!native"', 'syntax = "jp?ls"',
    'syntax = ["rle", "1.2.840.10008.1.2.4.*", "1.3.6.1.4.1.5.6"]', 'sop_class = "ctimagestorage"',
    'sop_class = "*Strage"', 'sop_class = ["!MRImageStorage", "1.3.6.1.4.1.99.0.1"]', 'bits = "9..9"',
    'size = "0..1kB"',
]  # fmt: skip


@pytest.mark.parametrize("when", KNOWN)
def test_what_a_file_may_have_is_a_condition(when: str, tmp_path: Path) -> None:
    (rule,) = read(str(policy(tmp_path, f'[[rule]]\nwhen = {{ {when} }}\ndo = "keep"\n'))).rules
    assert len(rule.when) == 1


@pytest.mark.parametrize("row", SYNTAXES, ids=lambda row: row.keyword)
def test_each_syntax_is_known_by_all_that_a_file_of_it_has(row: Syntax, tmp_path: Path) -> None:
    for name in filter(None, (row.uid, row.label, row.family, row.keyword)):
        read(str(policy(tmp_path, f'[[rule]]\nwhen = {{ syntax = "{name}" }}\ndo = "keep"\n')))


def test_a_choice_may_be_written_as_a_number(tmp_path: Path) -> None:
    (rule,) = read(str(policy(tmp_path, '[[rule]]\nto = "jpeg"\nlossy = true\nsubsampling = 444\n'))).rules
    assert (rule.parameters.subsampling, rule.parameters.lossy) == ("444", True)


def test_a_policy_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read(str(tmp_path / "none.toml"))


# --- what is done --------------------------------------------------------------------------------------------------

SITE = """
[[rule]]
name = "loops"
when = { modality = "US", frames = ">1" }
do = "keep"

[[rule]]
name = "colour"
when = { photometric = ["RGB", "YBR*"], bits = 8 }
to = "jpeg"
lossy = true
quality = 90

[[rule]]
name = "doses"
when = { sop_class = "RTDoseStorage" }
do = "skip"

[[rule]]
name = "reports"
when = { modality = "SR" }
do = "refuse"

[[rule]]
name = "else"
when = { bits = ">1" }
to = "htj2k-rpcl"
"""
DECIDED = {
    "us-multiframe-htj2k-rpcl.dcm": ("loops", "copied", None),
    "us-rgb-by-pixel.dcm": ("colour", "converted", dicom.JPEG_BASELINE),
    "rtdose-32.dcm": ("doses", "skipped", None),
    "sr-text.dcm": (None, "failed", None),
    "ct-explicit.dcm": ("else", "converted", dicom.HTJ2K_RPCL),
    "seg-binary.dcm": (None, "converted", dicom.EXPLICIT),
}


def test_each_file_of_a_directory_becomes_what_its_rule_says(tmp_path: Path, command: Run) -> None:
    (tmp_path / "in").mkdir()
    for name in DECIDED:
        (tmp_path / "in" / name).write_bytes((TESTDATA / name).read_bytes())
    file = policy(tmp_path, SITE)
    words = [tmp_path / "in", tmp_path / "out", "--to", "explicit", "--force", "--policy", file, "--report"]
    ran = command(*words, tmp_path / "r.jsonl", "--quiet")
    assert ran.status == 9
    told = batches.by_source(batches.records((tmp_path / "r.jsonl").read_text()))
    for name, (rule, status, syntax) in DECIDED.items():
        record = told[name]
        assert (name, record["rule"], record["status"]) == (name, rule, status)
        assert syntax is None or record["syntax_out"] == syntax
    assert told["sr-text.dcm"]["error"]["code"] == "E_POLICY"
    assert "reports" in told["sr-text.dcm"]["error"]["message"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        name for name, (_, status, _) in DECIDED.items() if status in ("copied", "converted")
    )
    kept = "us-multiframe-htj2k-rpcl.dcm"
    assert (tmp_path / "out" / kept).read_bytes() == (TESTDATA / kept).read_bytes()


def test_a_policy_for_every_file_needs_no_target(tmp_path: Path, command: Run) -> None:
    whole = policy(tmp_path, '[[rule]]\nto = "rle"\n')
    ran = command(TESTDATA / "ct-explicit.dcm", tmp_path / "out.dcm", "--policy", whole)
    assert (ran.status, dicom.walk((tmp_path / "out.dcm").read_bytes()).syntax) == (0, dicom.RLE)
    part = policy(tmp_path, '[[rule]]\nwhen = { modality = "CT" }\nto = "rle"\n')
    ran = command(TESTDATA / "ct-explicit.dcm", tmp_path / "out.dcm", "--policy", part)
    assert ran.status == 2
    assert "has no rule for every file" in ran.line


def test_a_dry_run_names_the_rule(tmp_path: Path, command: Run) -> None:
    ran = command(
        TESTDATA / "ct-explicit.dcm", tmp_path / "x", "--to", "rle", "--policy", policy(tmp_path, SITE), "--dry-run"
    )
    assert "explicit to htj2k-rpcl (rule: else)" in ran.out


def test_what_would_be_done_is_counted(tmp_path: Path, command: Run) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in TESTDATA.glob("*.dcm"):
        shutil.copy(path, data)
    (data / "notes.txt").write_text("no DICOM here")
    ran = command("policy", "check", policy(tmp_path, SITE), data, "--json")
    rows = {row["rule"]: row for row in json.loads(ran.out)}
    assert (rows["loops"]["files"], rows["loops"]["does"]) == (1, "keep")
    assert rows["colour"]["does"] == "to jpeg with loss"
    assert rows["doses"]["bytes"] == (TESTDATA / "rtdose-32.dcm").stat().st_size
    assert rows["no rule"]["files"] == 1
    assert rows.pop("not DICOM")["files"] == 1
    assert sum(row["files"] for row in rows.values()) == len(list(TESTDATA.glob("*.dcm")))
    ran = command("policy", "check", policy(tmp_path, SITE))
    assert ran.out == f"{tmp_path / 'site.toml'}: 5 rules; what no rule is for goes to --to\n"


def test_what_is_named_and_cannot_be_read_is_told(tmp_path: Path, command: Run) -> None:
    site, absent, empty = policy(tmp_path, SITE), tmp_path / "absent", tmp_path / "empty"
    ran = command("policy", "check", site, absent)
    assert (ran.status, ran.err) == (3, f"dcmtx: {absent}: there is no such file\n")
    assert "not readable\t-\t1\t0\n" in ran.out
    empty.touch()
    ran = command("policy", "check", site, empty)
    assert (ran.status, ran.err) == (3, f"dcmtx: {empty}: the file is empty\n")
    assert "empty\t-\t1\t0\n" in ran.out
    assert command("policy", "check", site, absent, TESTDATA / "ct-explicit.dcm").status == 9


def test_what_is_not_dicom_in_a_directory_is_counted_and_no_failure(tmp_path: Path, command: Run) -> None:
    site, below = policy(tmp_path, SITE), tmp_path / "in"
    below.mkdir()
    (below / "empty").touch()
    (below / "text").write_text("not DICOM")
    ran = command("policy", "check", site, below)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.endswith("empty\t-\t1\t0\nnot DICOM\t-\t1\t9\n")


def test_the_library_takes_a_policy_and_a_job_carries_it(tmp_path: Path) -> None:
    site = read(str(policy(tmp_path, SITE)))
    outcome = dcmtx.transcode(TESTDATA / "ct-explicit.dcm", tmp_path / "out.dcm", to="rle", site=site)
    assert (outcome.rule, outcome.syntax_out) == ("else", dicom.HTJ2K_RPCL)
    planned = dcmtx.transcode(TESTDATA / "ct-explicit.dcm", tmp_path / "out.dcm", to="rle", site=site, dry_run=True)
    assert dcmtx.job_from_json(planned.job.to_json()) == planned.job


def test_a_batch_with_a_policy_is_gone_on_with(tmp_path: Path, command: Run) -> None:
    (tmp_path / "in").mkdir()
    for name in ("ct-explicit.dcm", "us-rgb-by-pixel.dcm", "us-multiframe-htj2k-rpcl.dcm"):
        (tmp_path / "in" / name).write_bytes((TESTDATA / name).read_bytes())
    words = [tmp_path / "in", tmp_path / "out", "--to", "rle", "--policy", policy(tmp_path, SITE), "--resume"]
    assert command(*words, "--quiet").status == 0
    assert "3 skipped (done before)" in command(*words).err


# --- whole files ---------------------------------------------------------------------------------------------------


def test_lossy_files_and_compressed_ones_can_be_passed_over(tmp_path: Path, command: Run) -> None:
    lossy, lossless = TESTDATA / "us-jpeg-baseline.dcm", TESTDATA / "ct-rle.dcm"
    for source, option, passed in [
        (lossy, "--skip-lossy", True), (lossless, "--skip-lossy", False), (lossless, "--only-native", True),
        (TESTDATA / "ct-explicit.dcm", "--only-native", False),
    ]:  # fmt: skip
        ran = command(source, tmp_path / "out.dcm", "--to", "jpegls", option)
        assert ran.status == 0
        assert (tmp_path / "out.dcm").exists() != passed
        assert ("nothing is written" in ran.err) == passed
        (tmp_path / "out.dcm").unlink(missing_ok=True)


def test_what_would_not_be_smaller_is_kept_byte_for_byte(tmp_path: Path, command: Run) -> None:
    source = TESTDATA / "ct-jpegls.dcm"
    ran = command(source, tmp_path / "out.dcm", "--raw", "--keep-if-larger", "--json")
    record = json.loads(ran.out)
    assert (record["status"], record["syntax_out"]) == ("copied", dicom.JPEGLS)
    assert (tmp_path / "out.dcm").read_bytes() == source.read_bytes()
    command(TESTDATA / "ct-explicit.dcm", tmp_path / "out.dcm", "--to", "jpegls", "--keep-if-larger")
    assert dicom.walk((tmp_path / "out.dcm").read_bytes()).syntax == dicom.JPEGLS
    (tmp_path / "in.dcm").write_bytes(source.read_bytes())
    ran = command(tmp_path / "in.dcm", tmp_path / "in.dcm", "--raw", "--keep-if-larger", "--json")
    assert json.loads(ran.out)["status"] == "unchanged"


CHANGES = [
    ("--uid", "new"), ("--remove", "private"), ("--charset", "utf-8"), ("--lengths", "explicit"), ("--dataset-only",),
    ("--photometric", "RGB"), ("--planar", "1"), ("--apply-palette",),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_what_is_kept_as_it_is_is_not_asked_to_change(change: tuple[str, ...], tmp_path: Path, command: Run) -> None:
    source, out = TESTDATA / "ct-jpegls.dcm", tmp_path / "out.dcm"
    ran = command(source, out, "--raw", "--keep-if-larger", *change)
    assert ran.status == 2
    assert f"{change[0]} would change it" in ran.line
    keeps = policy(tmp_path, '[[rule]]\nname = "all"\ndo = "keep"\n')
    ran = command(source, out, "--raw", "--policy", keeps, *change)
    assert ran.status == 5
    assert f"{change[0]} would change it" in ran.line
    assert not out.exists()


def test_a_stream_that_is_kept_must_be_whole(tmp_path: Path) -> None:
    data = (TESTDATA / "ct-jpegls.dcm").read_bytes()
    keeps = policy(tmp_path, '[[rule]]\nname = "all"\ndo = "keep"\n')
    assert spawn("-", "-", "--to", "rle", "--policy", keeps, input=data).stdout == data
    assert data.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")
    ran = spawn("-", tmp_path / "out.dcm", "--to", "rle", "--policy", keeps, input=data[:-8])
    assert ran.returncode == 3
    assert not (tmp_path / "out.dcm").exists()


@pytest.mark.parametrize("option", ["--skip-lossy", "--only-native", "--policy", "--to smallest"])
def test_what_is_assumed_of_a_file_is_assumed_before_anything_is_decided(
    option: str, tmp_path: Path, command: Run
) -> None:
    source = tmp_path / "data-set"
    assert command(TESTDATA / "ct-rle.dcm", source, "--to", "rle", "--dataset-only").status == 0
    options = {
        "--policy": ["--policy", policy(tmp_path, '[[rule]]\nto = "jpegls"\n')],
        "--to smallest": ["--to", "smallest:jpegls"],
    }.get(option, ["--to", "jpegls", option])
    ran = command(source, tmp_path / "out.dcm", "--assume", "rle", *options)
    assert ran.status == 0, ran.err
    if option == "--only-native":
        assert "nothing is written" in ran.err
    else:
        assert dicom.walk((tmp_path / "out.dcm").read_bytes()).syntax == dicom.JPEGLS


def test_damage_behind_the_pixels_may_be_passed_over_also_where_a_policy_decides(tmp_path: Path, command: Run) -> None:
    source = tmp_path / "odd.dcm"
    source.write_bytes((TESTDATA / "ct-explicit.dcm").read_bytes() + b"\xff" * 5)
    assert command(source, tmp_path / "out.dcm", "--to", "rle").status == 3
    assert command(source, tmp_path / "out.dcm", "--to", "rle", "--ignore-errors", "--skip-lossy").status == 0


# --- the smallest ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["smallest", "smallest:jpegls,htj2k", "smallest: j2k , rle"])
def test_the_smallest_is_the_smallest_of_all_that_were_tried(target: str, tmp_path: Path) -> None:
    source = TESTDATA / "ct-explicit.dcm"
    outcome = dcmtx.transcode(source, tmp_path / "out.dcm", to=target)
    tried = target.partition(":")[2].replace(" ", "").split(",") if ":" in target else [
        "rle", "htj2k", "jpegls", "jpeg-lossless", "j2k",
    ]  # fmt: skip
    sizes = {}
    for one in tried:
        dcmtx.transcode(source, tmp_path / "one.dcm", to=one)
        walked = dicom.walk((tmp_path / "one.dcm").read_bytes())
        sizes[walked.syntax] = (tmp_path / "one.dcm").stat().st_size
    assert outcome.syntax_out == min(sizes, key=sizes.__getitem__)
    (note,) = (note for note in outcome.notes if note.code == "N_SMALLEST")
    assert note.text.startswith(f"{dcmtx.plan(source, to=outcome.syntax_out).syntax.label} is the smallest")


def test_a_tie_goes_to_the_faster_and_what_does_not_hold_a_file_is_told(tmp_path: Path) -> None:
    wide = dicom.Image(bytes(4 * 64), allocated=32, stored=32).encode()
    with pytest.raises(dcmtx.DcmtxError, match="use --to deflated-frames"):
        dcmtx.transcode(wide, to="smallest")
    signed = dicom.Image(np.arange(64, dtype=np.int16).tobytes(), signed=True).encode()
    outcome = dcmtx.transcode(signed, tmp_path / "out.dcm", to="smallest:jpegxl,jpegls")
    assert "jpegxl-lossless does not hold it" in outcome.notes[0].text


def test_of_a_large_file_frames_are_tried_that_are_spread_evenly() -> None:
    from dcmtx.transcoding.smallest import _sample

    assert _sample(5, 1000) == [0, 1, 2, 3, 4]
    assert _sample(1000, 16 << 20) == [0, 250, 500, 750]
    assert _sample(3, 1 << 40) == [0]


@pytest.mark.parametrize(
    "target", ["smallest:", "smallest:explicit", "smallest:jpeg-baseline", "smallest:jpegls,nothing"]
)
def test_only_codecs_that_lose_nothing_are_tried(target: str) -> None:
    with pytest.raises(UsageError, match="no codec that loses nothing"):
        dcmtx.transcode(TESTDATA / "ct-explicit.dcm", to=target)


def test_loss_does_not_go_with_the_smallest() -> None:
    with pytest.raises(UsageError, match="cannot lose anything"):
        dcmtx.transcode(TESTDATA / "ct-explicit.dcm", to="smallest", lossy=True)


def test_a_file_without_pixels_is_written_as_under_any_codec(tmp_path: Path) -> None:
    outcome = dcmtx.transcode(TESTDATA / "sr-text.dcm", tmp_path / "out.dcm", to="smallest", no_pixels="native")
    assert outcome.syntax_out == dicom.EXPLICIT


def test_where_none_of_several_holds_a_file_it_falls_back(tmp_path: Path, command: Run) -> None:
    pixels = np.arange(64, dtype="<u4") << 25
    source = tmp_path / "deep.dcm"
    source.write_bytes(dicom.Image(pixels.tobytes(), rows=8, columns=8, allocated=32, stored=32).encode())
    assert command(source, tmp_path / "out.dcm", "--to", "smallest:jpegls,jpeg-lossless").status == 5
    ran = command(source, tmp_path / "out.dcm", "--to", "smallest:jpegls,jpeg-lossless", "--fallback", "explicit")
    assert ran.status == 0
    assert "fell back to explicit" in ran.err
    assert dicom.walk((tmp_path / "out.dcm").read_bytes()).syntax == dicom.EXPLICIT


# --- a relay ---------------------------------------------------------------------------------------------------------

RELAY = """
[[rule]]
name = "reports"
when = { modality = "SR" }
do = "refuse"

[[rule]]
name = "small"
when = { size = "<5kB" }
do = "skip"

[[rule]]
name = "large"
when = { size = ">20kB" }
to = "rle"

[[rule]]
name = "as they came"
when = { size = "<12kB" }
do = "keep"
"""


def test_a_relay_follows_the_rules_of_a_site(tmp_path: Path) -> None:
    """What no rule is for goes as the destination prefers; what the policy keeps is not touched."""
    pytest.importorskip("pynetdicom")
    from peers import Destination
    from relays import RelayProcess, storescu, write_instances

    files = [
        *write_instances(tmp_path / "large", [1], size=128),
        *write_instances(tmp_path / "kept", [2], size=64),
        *write_instances(tmp_path / "small", [3], size=16),
        *write_instances(tmp_path / "other", [4], size=90),
    ]
    file = policy(tmp_path, RELAY)
    accepted = ["1.2.840.10008.1.2", dicom.EXPLICIT, dicom.RLE, dicom.JPEGLS]
    with Destination(takes=lambda _, syntax: syntax in accepted) as destination:
        settings = {"address": destination.address, "prefer": ["jpegls"], "policy": str(file)}
        with RelayProcess(settings) as relay:
            assert storescu(relay.port, files).returncode == 0
            relay.until_empty()
            arrived = {one.instance: one.syntax for one in destination.received}
            assert [event["reason"] for event in relay.events("left out")] == ["small"]
    assert arrived == {"1.2.3.1": dicom.RLE, "1.2.3.2": dicom.EXPLICIT, "1.2.3.4": dicom.JPEGLS}


UNFIT = {
    "a target to try out": ('[[rule]]\nto = "smallest"\n', "does not try out"),
    "parameters that lose nothing": ('[[rule]]\nto = "htj2k"\nresolutions = 3\n', "for loss only"),
    "no policy": ("nonsense", "is not TOML"),
}


@pytest.mark.parametrize(("text", "what"), UNFIT.values(), ids=UNFIT)
def test_a_relay_says_at_once_which_rule_it_cannot_follow(text: str, what: str, tmp_path: Path, command: Run) -> None:
    pytest.importorskip("pynetdicom")
    file = policy(tmp_path, text)
    (tmp_path / "relay.toml").write_text(
        f'[spool]\npath = "{tmp_path}/spool"\n[[destinations]]\nname = "a"\naddress = "A@127.0.0.1:1"\n'
        f'policy = "{file}"\n'
    )
    ran = command("relay", "--config", tmp_path / "relay.toml", "--check")
    assert ran.status == 2
    assert what in ran.line
