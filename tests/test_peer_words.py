"""The words of other converters: the tables against the peers' own help, and the same lines by peer and by dcmtx."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pydicom
import pytest
from conftest import ROOT, contents, need_tool, old_file

from dcmtx.cli.convert import convert
from dcmtx.errors import ExitStatus, UsageError
from dcmtx.peers.catalog import MODULES, load
from dcmtx.peers.table import Verdict
from dcmtx.peers.translate import RAW, SAME, resolved, translate
from dcmtx.serve.client import PEERS as NAMES
from dcmtx.syntax import ROOT as UIDS

PEERS = {name: load(name) for name in MODULES}
INSTALLED = [name for name in MODULES if name not in ("dcm2dcm", "dicom-transcode")]
OPTIONS = [
    pytest.param(peer, option, id=f"{name} {option.names[0]}")
    for name, peer in PEERS.items()
    for option in peer.options
]
DATA = ROOT / "testdata"


def given(option) -> list[str]:
    """Return an option as it may be typed, with values that its settings take."""
    value = "0.5" if option.names == ("-q",) else "warn" if "-ll" in option.names else "3"
    if "UID" in option.values and option.sets:
        value = "1.2.840.10008.1.2.4.80"
    value = {("PI",): "RGB", ("0|1",): "1"}.get(option.values, value)
    return [option.names[-1], *(value for _ in option.values)]


# --- the tables ----------------------------------------------------------------------------------------------------


def test_the_program_knows_the_names_of_all_peers():
    assert tuple(MODULES) == NAMES
    assert [peer.name for peer in PEERS.values()] == list(NAMES)


@pytest.mark.parametrize("name", INSTALLED)
def test_every_option_of_the_peers_own_help_is_in_its_table(name):
    text = subprocess.run([need_tool(name), "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    table = {spelling: option for option in PEERS[name].options for spelling in option.names}
    found = re.findall(r"^ +([-+][^\s,]+)?(?: +(--[\w-]+))(.*(?:\n {25,}\S.*)*)", text, re.MULTILINE)
    assert len(found) > 20
    for short, long, about in found:
        assert long in table, long
        if short and not short.startswith("--"):
            assert table.get(short) is table[long], short
        # [x] in DCMTK's help and %x or [01] in gdcmconv's stand for values; UIDs are not marked there.
        marks = re.findall(r"\[[a-z]+\]" if name != "gdcmconv" else r"%\*?[a-z](?:,%d)?|\[01\]", about.split("\n")[0])
        assert len(marks) == len(table[long].values) or long in ("--root-uid", "--input", "--output"), long


def test_no_name_is_twice_in_a_table():
    for peer in PEERS.values():
        names = [name for option in peer.options for name in option.names]
        assert len(names) == len(set(names)), peer.name


@pytest.mark.parametrize(("peer", "option"), OPTIONS)
def test_what_becomes_of_every_option(peer, option):
    """It is refused in words that help, or ignored with a note, or gives a line that `dcmtx convert` takes."""
    # What an option needs beside it.
    beside = {"+sv": ["+el"], "+md": ["+en"], "-te": ["-f"], "-tb": ["-f"], "-ti": ["-f"]}.get(option.names[0], [])
    if peer.name == "dicom-transcode" and "target" not in dict(option.sets):
        beside = ["--expl-vr-le"]
    line = [*beside, *given(option)]
    files = [] if "source" in dict(option.sets) else ["in.dcm"]
    files += [] if "destination" in dict(option.sets) or peer.name == "dicom-transcode" else ["out.dcm"]
    if option.verdict is Verdict.REFUSED:
        with pytest.raises(UsageError) as caught:
            translate(peer, [*line, *files])
        assert (option.names[-1] in caught.value.what, caught.value.advice) == (True, option.text)
        return
    asked = translate(peer, [*line, *files])
    if option.verdict is not Verdict.DONE:
        assert [note for note in asked.notes if option.names[-1] in note]
    elif not asked.mode:
        assert asked.notes == ()
        context = click.Context(convert)
        convert.make_context("convert", asked.line(resolved(asked.target, UIDS)), parent=context)
    if option.verdict is Verdict.LOSSLESS:
        with pytest.raises(UsageError) as caught:
            translate(peer, ["+eb", *line, *files])
        assert caught.value.advice == option.text


# --- translations --------------------------------------------------------------------------------------------------

LINES = [
    ("gdcmconv", "a b", "--to same -- a b"),
    ("gdcmconv", "-J a b", "--to jpeg --no-pixels fail -- a b"),
    ("gdcmconv", "-o b -J -i a", "--to jpeg --no-pixels fail -- a b"),
    ("gdcmconv", "a -K b", "--to j2k --no-pixels fail -- a b"),
    ("gdcmconv", "-i a -L b", "--to jpegls --no-pixels fail -- a b"),
    ("gdcmconv", "-o b a", "--to same -- a b"),
    ("gdcmconv", "--input=a --output=b --raw", "--to raw -- a b"),
    ("gdcmconv", "-JYq80 a b", "--to jpeg --lossy --quality 80 --no-pixels fail -- a b"),
    ("gdcmconv", "-J --loss a b", "--to jpeg --lossy --quality 100 --no-pixels fail -- a b"),
    ("gdcmconv", "-J -q 80 a b", "--to jpeg --no-pixels fail -- a b"),
    ("gdcmconv", "-K -Y a b", "--to JPEG2000 --no-pixels fail -- a b"),
    ("gdcmconv", "-K -Y -r 20 a b", "--to j2k --lossy --ratio 20 --no-pixels fail -- a b"),
    ("gdcmconv", "-K -Y -q 45 -n 4 a b", "--to j2k --lossy --psnr 45 --resolutions 4 --no-pixels fail -- a b"),
    ("gdcmconv", "-L -Y a b", "--to jpegls --lossy --near 0 --no-pixels fail -- a b"),
    ("gdcmconv", "-L -Y -e 2 a b", "--to jpegls --lossy --near 2 --no-pixels fail -- a b"),
    ("gdcmconv", "-L -e 2 a b", "--to jpegls --no-pixels fail -- a b"),
    ("gdcmconv", "-X -Y a b", "--to explicit -- a b"),
    ("gdcmconv", "-w -R a b", "--to rle --no-pixels fail -- a b"),
    ("gdcmconv", "-F -V -d a b", "--to deflated --verbose -- a b"),
    ("gdcmconv", "-M -- -a -b", "--to implicit -- -a -b"),
    ("dcmconv", "a b", "--to same -- a b"),
    ("dcmconv", "+ti a b", "--to implicit -- a b"),
    ("dcmconv", "-f -ti +te a b", "--to explicit --assume implicit -- a b"),
    ("dcmconv", "-f a b", "--to same -- a b"),
    ("dcmconv", "+te -F -e +U8 a b", "--to explicit --dataset-only --lengths undefined --charset utf-8 -- a b"),
    ("dcmconv", "-ig a b", "--to same --remove invalid -- a b"),
    ("dcmcrle", "+e a b", "--to rle --lengths explicit -- a b"),
    ("gdcmconv", "--remove-private-tags a b", "--to same --remove private -- a b"),
    (
        "gdcmconv",
        "--remove-retired --remove-private-tags -I -w a b",
        "--to raw --ignore-errors --remove private,retired -- a b",
    ),
    ("dcm2dcm", "-F --ivrle a b", "--to implicit --dataset-only -- a b"),
    ("dcmconv", "+td +te a b", "--to explicit -- a b"),
    ("dcmconv", "-q - -", "--to same --quiet -- - -"),
    ("dcmconv", "-q -v +tb a b", "--to big-endian --verbose -- a b"),
    ("dcmconv", "-ll error +te a b", "--to explicit --quiet -- a b"),
    ("dcmconv", "-ll debug +te a b", "--to explicit --verbose -- a b"),
    ("dcmcjpeg", "a b", "--to jpeg-lossless -- a b"),
    ("dcmcjpeg", "+el a b", "--to jpeg-lossless-p14 --predictor 6 -- a b"),
    ("dcmcjpeg", "+el +sv 4 a b", "--to jpeg-lossless-p14 --predictor 4 -- a b"),
    ("dcmcjpeg", "+eb +q 85 a b", "--to jpeg-baseline --lossy --quality 85 -- a b"),
    ("dcmcjpeg", "+ee +s4 a b", "--to jpeg-extended --lossy -- a b"),
    ("dcmcjpeg", "+eb +e1 +q 85 +cr a b", "--to jpeg-lossless -- a b"),
    ("dcmcjpeg", "+ua -ot a b", "--to jpeg-lossless --uid new --offset-table empty -- a b"),
    ("dcmcjpeg", "+eb +un +sm 0 a b", "--to jpeg-baseline --lossy --uid keep -- a b"),
    ("dcmdjpeg", "a b", "--to explicit -- a b"),
    ("dcmdjpeg", "+ti -g a b", "--to implicit --offset-table basic -- a b"),
    ("dcmcjpeg", "+fs 64 a b", "--to jpeg-lossless --fragment-size 65536 -- a b"),
    ("dcmcjpls", "+fs 64 +ff a b", "--to jpegls -- a b"),
    ("dcmdjpeg", "+pl a b", "--to explicit --planar 1 -- a b"),
    ("dcmdjpls", "+pl +pr a b", "--to explicit -- a b"),
    ("gdcmconv", "-l -w a b", "--to raw --apply-palette -- a b"),
    ("gdcmconv", "-P MONOCHROME1 a b", "--to same --photometric MONOCHROME1 -- a b"),
    ("gdcmconv", "-X -P RGB -Y a b", "--to explicit --lossy --photometric RGB -- a b"),
    ("gdcmconv", "--planar-configuration 1 -w a b", "--to raw --planar 1 -- a b"),
    (
        "gdcmconv",
        "--generate-icon -S 1000 -L a b",
        "--to jpegls --no-pixels fail --fragment-size 1000 --icon generate -- a b",
    ),
    ("dcmcrle", "-p -ot a b", "--to rle --offset-table empty -- a b"),
    ("dcmcjpeg", "+ee +s2 +cr a b", "--to jpeg-extended --lossy -- a b"),
    ("gdcmconv", "-J -n 4 -F a b", "--to jpeg --force --no-pixels fail -- a b"),
    ("gdcmconv", "-F --remove-gl -w a b", "--to raw --offset-table basic -- a b"),
    ("dcmcjpls", "a b", "--to jpegls -- a b"),
    ("dcmcjpls", "+en a b", "--to jpegls-near --lossy --near 2 -- a b"),
    ("dcmcjpls", "+en +md 3 a b", "--to jpegls-near --lossy --near 3 -- a b"),
    ("dcmdjpls", "--write-xfer-big a b", "--to big-endian -- a b"),
    ("dcmcrle", "a b", "--to rle -- a b"),
    ("dcmdrle", "a b", "--to explicit -- a b"),
    ("dcm2dcm", "a b", "--to explicit -- a b"),
    ("dcm2dcm", "--jpeg -q 0.85 a b c", "--to jpeg --lossy --quality 85 -- a b c"),
    ("dcm2dcm", "--jpll --max-threads=4 a b", "--to jpeg-lossless --jobs 4 -- a b"),
    ("dcm2dcm", "-jlsn -N3 a b", "--to jpegls-near --lossy --near 3 -- a b"),
    ("dcm2dcm", "-t 1.2.840.10008.1.2.4.80 -q 0.5 a b", "--to 1.2.840.10008.1.2.4.80 -- a b"),
    ("dcm2dcm", "-t 1.2.840.10008.1.2.4.91 a b", "--to JPEG2000 --lossy --ratio 10 -- a b"),
    ("dcm2dcm", "-t 1.2.840.10008.1.2.4.57 a b", "--to jpeg-lossless-p14 --predictor 6 -- a b"),
    ("dcm2dcm", "-t 1.2.840.10008.1.2.4.50 a b", "--to 1.2.840.10008.1.2.4.50 --lossy -- a b"),
    ("dcm2dcm", "--j2ki -Q 20 a b", "--to JPEG2000 --lossy --ratio 20 -- a b"),
    ("dicom-transcode", "--expl-vr-le a.dcm", "--to explicit -- a.dcm a.new.dcm"),
    ("dicom-transcode", "--impl-vr-le -ob a", "--to implicit -- a b"),
    ("dicom-transcode", "-vo b a --ts 1.2.840.10008.1.2.4.80", "--to 1.2.840.10008.1.2.4.80 --verbose -- a b"),
    ("dicom-transcode", "--jpeg-baseline a -o=b", "--to jpeg-baseline --lossy --quality 85 -- a b"),
    ("dicom-transcode", "--jpeg-xl --quality 70 a -o b", "--to jpegxl --lossy --quality 70 -- a b"),
    ("dicom-transcode", "--jpeg-ls a -o b", "--to jpegls-near --lossy -- a b"),
    ("dicom-transcode", "--jpeg-xl-lossless --quality 70 a -o b", "--to jpegxl-lossless -- a b"),
]


@pytest.mark.parametrize(("peer", "line", "ours"), LINES, ids=[f"{peer} {line}" for peer, line, _ in LINES])
def test_a_line_of_a_peer_is_one_of_ours(peer, line, ours):
    asked = translate(PEERS[peer], line.split())
    assert " ".join(asked.line(asked.target)) == ours


@pytest.mark.parametrize(
    ("peer", "line", "what", "advice"),
    [
        ("gdcmconv", "-X -J a b", "one file has one transfer syntax, not both jpeg and explicit", "leave one"),
        ("gdcmconv", "-J -L a b", "one file has one transfer syntax, not both jpeg and jpegls", "leave one"),
        ("gdcmconv", "-K -Y -r 20,10 a b", "-r (--rate) 20,10: there is one layer", "give the last value alone: 10"),
        ("gdcmconv", "--bogus a b", "gdcmconv has no option --bogus", "`dcmtx as gdcmconv --help`"),
        ("gdcmconv", "-JZ a b", "gdcmconv has no option -Z", "`dcmtx as gdcmconv --help`"),
        ("gdcmconv", "--re a b", "--re may be --remove-gl, --remove-private-tags, --remove-retired", "write it out"),
        ("gdcmconv", "--raw=1 a b", "--raw takes no value", "leave =1 out"),
        ("gdcmconv", "-J a b -q", "-q has no value", "`dcmtx as gdcmconv --help`"),
        ("gdcmconv", "-J a", "no DST", "gdcmconv [OPTION]... SRC DST"),
        ("gdcmconv", "-J", "no SRC", "gdcmconv [OPTION]... SRC DST"),
        ("gdcmconv", "a b c", "2 sources, but it takes one", "gdcmconv [OPTION]... SRC DST"),
        ("dcmcjpeg", "--encode-base a b", "dcmcjpeg has no option --encode-base", "`dcmtx as dcmcjpeg --help`"),
        ("dcmcjpeg", "+sv 3 a b", "+sv goes with +el (--encode-lossless) alone", "add +el"),
        ("dcmcjpeg", "@line a b", "files of options such as @line are not read", "give the options"),
        ("dcmcjpeg", "+pt 2 a b", "+pt 2 is not done here", "leave it out: it loses"),
        ("dcmcjpeg", "a", "no DST", "SRC DST"),
        ("dcmcjpeg", "+fs 0 a b", "+fs 0: a fragment has from 1 to 4194303", ""),
        ("dcmcrle", "+fs 8 a b", "+fs 8 is not done here", "in RLE a frame is one fragment"),
        ("gdcmconv", "-8 a b", "-8 is not done here", "use -l"),
        ("dcmcjpls", "+md 3 a b", "+md goes with +en (--encode-nearlossless) alone", "add +en"),
        ("dcmconv", "-ti a b", "-te, -tb and -ti go with -f (--read-dataset) alone", "add -f"),
        ("dcmconv", "+C latin1 a b", "+C latin1 is not done here", "use +U8"),
        ("dcmconv", "-ll loud a b", "-ll loud: there is no such level", "fatal, error, warn"),
        ("dcm2dcm", "--jpeg -q 85 a b", "-q 85 is no quality from 0.0 to 1.0", "-q 0.9"),
        ("dcm2dcm", "--jpeg --jpll a b", "one file has one transfer syntax", "leave one"),
        ("dicom-transcode", "--ts 1.2 a b", "2 sources, but it takes one", "[OPTION]... SRC"),
        ("dicom-transcode", "a", "no target", "--ts UID"),
        ("dicom-transcode", "--jpeg-ls --quality 85 a", "--quality says nothing of how far values", "--near N"),
        ("dicom-transcode", "--expl a", "dicom-transcode has no option --expl", "`dcmtx as dicom-transcode --help`"),
    ],
)  # fmt: skip
def test_what_is_refused_says_what_to_type_instead(peer, line, what, advice):
    with pytest.raises(UsageError) as caught:
        translate(PEERS[peer], line.split())
    assert what in caught.value.what
    assert advice in caught.value.advice


@pytest.mark.parametrize(
    ("line", "consents"),
    [("-S 100", True), ("--generate-icon", True), ("--remove-gl", True), ("--remove-gl -l", False), ("", False),
     ("-S 100 -P RGB", False), ("-S 100 -P RGB -Y", True)],
)  # fmt: skip
def test_codestreams_that_have_lost_something_are_kept_without_a_word(line, consents):
    """--lossy is there where nothing is lost by it, and never where the line does not say it and pixels may change."""
    asked = translate(PEERS["gdcmconv"], [*line.split(), "a", "b"])
    assert ("--lossy" in asked.line("jpeg-baseline")) is consents
    assert asked.line("jpeg-lossless").count("--lossy") == ("-Y" in line)


@pytest.mark.parametrize(
    ("source", "raw"),
    [("", ""), (".1", ".1"), (".2", ".1"), (".1.99", ".1"), (".5", ".1"), (".4.70", ".1")],
)  # fmt: skip
def test_raw_and_same_depend_on_the_source(source, raw):
    assert resolved(RAW, UIDS + source) == UIDS + raw
    assert resolved(SAME, UIDS + source) == UIDS + source
    assert resolved("rle", UIDS + source) == "rle"


# --- the same line by the peer and by dcmtx ------------------------------------------------------------------------

LOSSLESS = {
    "gdcmconv": ["", "-w", "-J", "-K", "-L", "-R", "-X", "-M", "-d", "-J -q 80", "-K -r 20", "-L -e 3", "-K -Y",
                 "-L -Y", "-K --irreversible"],
    "dcmconv": ["", "+t=", "+te", "+ti", "+tb", "+td", "+te -g", "+t= -g", "+te -p", "+cl 9 +td", "+Fm +ti +g="],
    "dcmcjpeg": ["", "+e1", "+el", "+el +sv 1", "+el +sv 7", "-ot", "+un", "+q 50", "-ho", "+be", "+ca", "-W", "+pt 0"],
    "dcmdjpeg": ["", "+te", "+ti", "+tb", "+px", "+cp"],
    "dcmcjpls": ["", "+el", "+pr", "+is", "+t1 5", "+rs 32", "-ot"],
    "dcmdjpls": ["", "+ti", "+tb", "+pr"],
    "dcmcrle": ["", "-ot", "+un", "-g"],
    "dcmdrle": ["", "+ti", "+tb", "+bd"],
}  # fmt: skip
FILES = ["ct-explicit", "ct-implicit", "ct-deflated", "mr-big-endian", "ct-rle", "ct-jpegls", "cr-jpeg-lossless",
         "ct-j2k", "us-rgb-by-pixel", "us-rgb-by-plane", "us-palette-8", "us-ybr-full-rle"]  # fmt: skip


def run_peer(name: str, options: list[str], src: Path, dst: Path) -> int:
    line = [need_tool(name), *options, str(src), str(dst)]
    return subprocess.run(line, capture_output=True, timeout=60, check=False).returncode


def read(path: Path) -> tuple[pydicom.Dataset, np.ndarray]:
    """Return a data set and its pixels as they are stored, by a library that is neither's."""
    dataset = pydicom.dcmread(path)
    return dataset, pydicom.pixels.pixel_array(dataset, raw=True)


def uid(dataset: pydicom.Dataset) -> str:
    """Return the SOP Instance UID, of whatever VR: gdcmconv writes UN where the source had none."""
    value = dataset[0x00080018].value
    return value.decode().rstrip("\0") if isinstance(value, bytes) else value


# What pydicom says of files that the peers wrote.
@pytest.mark.filterwarnings("ignore:Expected explicit VR", "ignore:.*component IDs")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(("peer", "options"), [(peer, line) for peer, lines in LOSSLESS.items() for line in lines])
def test_a_lossless_line_gives_what_the_peer_gives(peer, options, file, tmp_path, command):
    source, theirs, ours = DATA / f"{file}.dcm", tmp_path / "theirs.dcm", tmp_path / "ours.dcm"
    status = run_peer(peer, options.split(), source, theirs)
    ran = command("as", peer, *options.split(), source, ours)
    if status:
        # What it cannot read or write, dcmtx may.
        assert ran.status in (0, 1)
        return
    assert (ran.status, ran.out) == (0, "")
    # What is retired is a note, and nothing else is one.
    assert re.fullmatch(r"(dcmtx: .*: note: Explicit VR Big Endian is retired; .*\n)?", ran.err), ran.err
    expected, pixels = read(theirs)
    got, mine = read(ours)
    assert got.file_meta.TransferSyntaxUID == expected.file_meta.TransferSyntaxUID
    # dcmtx has JPEG 2000 transform colours, without loss, and says so; gdcmconv does not.
    assert got.PhotometricInterpretation.replace("YBR_RCT", "RGB") == expected.PhotometricInterpretation
    np.testing.assert_array_equal(mine, pixels)
    np.testing.assert_array_equal(mine, read(source)[1])
    assert uid(got) == uid(read(source)[0])


# Peer, options, file, how far a value may be off from the source by either; None where both only look alike.
LOSSY = [
    ("gdcmconv", "-L -Y -e 3", "us-rgb-by-pixel", 3),
    ("gdcmconv", "-K -Y -r 5", "us-rgb-by-pixel", None),
    ("gdcmconv", "-K -Y -q 45", "us-rgb-by-pixel", None),
    ("dcmcjpls", "+en", "us-rgb-by-pixel", 2),
    ("dcmcjpls", "+en +md 5", "us-rgb-by-plane", 5),
    ("dcmcjpls", "+en +un", "us-rgb-by-pixel", 2),
    ("dcmcjpeg", "+eb +q 95 +s4", "us-rgb-by-pixel", None),
    ("dcmcjpeg", "+eb", "us-rgb-by-pixel", None),
    ("dcmcjpeg", "+eb +ua", "us-rgb-by-plane", None),
]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


@pytest.mark.parametrize(("peer", "options", "file", "near"), LOSSY)
def test_a_lossy_line_gives_what_the_peer_gives(peer, options, file, near, tmp_path, command):
    source, theirs, ours = DATA / f"{file}.dcm", tmp_path / "theirs.dcm", tmp_path / "ours.dcm"
    assert run_peer(peer, options.split(), source, theirs) == 0
    assert command("as", peer, *options.split(), source, ours).status == 0
    expected, got, before = (pydicom.dcmread(path) for path in (theirs, ours, source))
    assert got.file_meta.TransferSyntaxUID == expected.file_meta.TransferSyntaxUID
    assert (got.SOPInstanceUID == before.SOPInstanceUID) is (expected.SOPInstanceUID == before.SOPInstanceUID)
    assert got.LossyImageCompression == expected.LossyImageCompression == "01"
    original = pydicom.pixels.pixel_array(before)
    mine, his = (pydicom.pixels.pixel_array(dataset) for dataset in (got, expected))
    if near is None:
        assert psnr(mine, original) > psnr(his, original) - 3
    else:
        for pixels in (mine, his):
            assert np.abs(pixels.astype(int) - original.astype(int)).max() <= near


# Peer, options, file: what changes pixels, their order or their fragments alone.
PIXELS = [
    ("gdcmconv", "-l", "us-palette-8"),
    ("gdcmconv", "-l", "sc-palette-16"),
    ("gdcmconv", "-P MONOCHROME1", "mr-big-endian"),
    ("gdcmconv", "-w --planar-configuration 1", "us-rgb-by-pixel"),
    ("gdcmconv", "-w --planar-configuration 0", "us-rgb-by-plane"),
    ("gdcmconv", "-w --planar-configuration 1", "ct-jpegls"),
    ("dcmdjpeg", "+pl", "us-jpeg-baseline"),
    ("dcmdjpeg", "+px", "us-jpeg-baseline"),
    ("dcmdjpeg", "+pl +pa", "us-jpeg-baseline"),
    ("dcmdjpeg", "+ti +pl", "us-jpeg-baseline"),
    ("gdcmconv", "-S 1000", "us-jpeg-baseline"),
    ("gdcmconv", "-S 500", "ct-jpegls"),
    ("dcmcjpeg", "+fs 1", "us-rgb-by-pixel"),
    ("dcmcjpeg", "+fs 1 +ff", "us-rgb-by-pixel"),
    ("dcmcjpls", "+fs 1", "us-rgb-by-pixel"),
    ("dcmcjpls", "+fs 1 -ot", "ct-explicit"),
]


def fragments(dataset: pydicom.Dataset) -> list[int]:
    """Return the lengths of the fragments of Pixel Data, without the table."""
    if not dataset.file_meta.TransferSyntaxUID.is_compressed:
        return []
    return [len(part) for part in pydicom.encaps.generate_fragments(dataset.PixelData)][1:]


@pytest.mark.filterwarnings("ignore:Expected explicit VR", "ignore:.*component IDs")
@pytest.mark.parametrize(("peer", "options", "file"), PIXELS)
def test_a_line_that_changes_pixels_gives_what_the_peer_gives(peer, options, file, tmp_path, command):
    source, theirs, ours = DATA / f"{file}.dcm", tmp_path / "theirs.dcm", tmp_path / "ours.dcm"
    assert run_peer(peer, options.split(), source, theirs) == 0
    assert command("as", peer, *options.split(), source, ours).status == 0
    expected, got, before = (pydicom.dcmread(path) for path in (theirs, ours, source))
    assert got.file_meta.TransferSyntaxUID == expected.file_meta.TransferSyntaxUID
    assert got.get("PlanarConfiguration") == expected.get("PlanarConfiguration")
    # dcmtx has JPEG 2000 transform colours, without loss, and says so; gdcmconv does not.
    photometric = got.PhotometricInterpretation.replace("YBR_RCT", "RGB")
    assert photometric == expected.PhotometricInterpretation
    mine, his = (pydicom.pixels.pixel_array(dataset, raw=photometric != "RGB") for dataset in (got, expected))
    if his.dtype != mine.dtype or file == "us-palette-8":
        # gdcmconv keeps the upper half of what repeats 8 bits, as dcmtx does.
        assert (mine.dtype, his.dtype) == (np.uint8, np.uint8)
    assert np.abs(mine.astype(int) - his.astype(int)).max() <= ("jpeg-baseline" in file and "-S" not in options)
    size = {"-S": 1, "+fs": 1024}.get(options.split()[0], 0) * int(options.split()[1] if size_said(options) else 0)
    if size and "+ff" not in options:
        assert max(fragments(got)) <= size
        assert max(fragments(expected)) <= size
        assert len(fragments(got)) > 1
    else:
        assert len(fragments(got)) in (0, 1)
    # What means something else is another instance, whatever the peers think of that.
    assert (got.SOPInstanceUID == before.SOPInstanceUID) is (options[:2] not in ("-l", "-P"))


def size_said(options: str) -> bool:
    return options.split(maxsplit=1)[0] in ("-S", "+fs")


def test_planes_of_jpeg_ls_are_those_of_dcmdjpls(tmp_path, command):
    coded, theirs, ours = (tmp_path / name for name in ("coded", "theirs", "ours"))
    assert run_peer("dcmcjpls", [], DATA / "us-rgb-by-pixel.dcm", coded) == 0
    for option, planar in (("+pl", 1), ("+px", 0)):
        assert run_peer("dcmdjpls", [option], coded, theirs) == 0
        assert command("as", "dcmdjpls", option, coded, ours).status == 0
        expected, got = pydicom.dcmread(theirs), pydicom.dcmread(ours)
        assert got.PlanarConfiguration == expected.PlanarConfiguration == planar
        assert got.PixelData == expected.PixelData


def test_an_icon_is_made_where_gdcmconv_makes_one(tmp_path, command):
    """It shows 16 bits by their whole range, dcmtx by the window; both are 8 bits of one sample, and as large."""
    theirs, ours = tmp_path / "theirs.dcm", tmp_path / "ours.dcm"
    line = ["-w", "--generate-icon"]
    assert run_peer("gdcmconv", line, DATA / "ct-jpegls.dcm", theirs) == 0
    assert command("as", "gdcmconv", *line, DATA / "ct-jpegls.dcm", ours).status == 0
    (his,), (mine,) = (pydicom.dcmread(path).IconImageSequence for path in (theirs, ours))
    for icon in (his, mine):
        assert (icon.SamplesPerPixel, icon.BitsAllocated, icon.PhotometricInterpretation) == (1, 8, "MONOCHROME2")
    assert mine.Rows / mine.Columns == his.Rows / his.Columns
    assert len(set(mine.PixelData)) > len(set(his.PixelData))


@pytest.mark.parametrize(
    ("peer", "line", "file", "text"),
    [
        ("gdcmconv", "-P RGB", "sc-ybr-full-422", "say --lossy to consent"),
        ("gdcmconv", "-P RGB", "ct-explicit", "MONOCHROME2 cannot become RGB"),
        ("gdcmconv", "-P MONOCHROME1", "ct-explicit", "rescaled to other units"),
        ("gdcmconv", "-J --planar-configuration 1", "us-rgb-by-pixel", "--planar does not go with jpeg"),
        ("gdcmconv", "-w -S 1000", "ct-jpegls", "--fragment-size does not go with"),
        ("gdcmconv", "-R -S 1000", "ct-jpegls", "one fragment per frame"),
    ],
)
def test_pixels_that_cannot_change_so_are_refused(peer, line, file, text, tmp_path, command):
    ran = command("as", peer, *line.split(), DATA / f"{file}.dcm", tmp_path / "out.dcm")
    assert (ran.status, text in ran.line) == (1, True), ran.line
    assert not (tmp_path / "out.dcm").exists()


def test_colours_are_rounded_as_gdcmconv_does_with_consent(tmp_path, command):
    theirs, ours = tmp_path / "theirs.dcm", tmp_path / "ours.dcm"
    line = ["-P", "YBR_FULL", "-Y"]
    assert run_peer("gdcmconv", line, DATA / "us-rgb-by-pixel.dcm", theirs) == 0
    assert command("as", "gdcmconv", *line, DATA / "us-rgb-by-pixel.dcm", ours).status == 0
    expected, got = read(theirs), read(ours)
    assert got[0].PhotometricInterpretation == expected[0].PhotometricInterpretation == "YBR_FULL"
    # gdcmconv rounds down.
    assert np.abs(got[1].astype(int) - expected[1].astype(int)).max() <= 1


def test_where_a_peer_is_not_lawful_dcmtx_is(tmp_path, command):
    """An SR without pixels, 16 bits under Baseline, RGB that is none: by the peers they are done, and wrong."""
    theirs, ours = tmp_path / "theirs.dcm", tmp_path / "ours.dcm"
    assert run_peer("dcmcjpls", [], DATA / "sr-text.dcm", theirs) == 0
    assert pydicom.dcmread(theirs).file_meta.TransferSyntaxUID == f"{UIDS}.4.80"
    ran = command("as", "dcmcjpls", DATA / "sr-text.dcm", ours)
    assert (ran.status, "it has no pixels" in ran.err) == (0, True)
    assert pydicom.dcmread(ours).file_meta.TransferSyntaxUID == f"{UIDS}.1"

    assert run_peer("dcmcjpeg", ["+eb"], DATA / "ct-explicit.dcm", theirs) == 0
    assert pydicom.dcmread(theirs).BitsStored == 8
    old_file(ours)
    before = contents(tmp_path)
    ran = command("as", "dcmcjpeg", "+eb", DATA / "ct-explicit.dcm", ours)
    assert (ran.status, "JPEG Baseline (Process 1) holds MONOCHROME2 of Bits Allocated 8, not 16" in ran.line) == (
        1,
        True,
    )
    assert contents(tmp_path) == before

    assert run_peer("gdcmconv", ["-J", "-Y"], DATA / "us-rgb-by-pixel.dcm", theirs) == 0
    assert pydicom.dcmread(theirs).PhotometricInterpretation == "RGB"
    assert command("as", "gdcmconv", "-J", "-Y", DATA / "us-rgb-by-pixel.dcm", ours).status == 0
    assert pydicom.dcmread(ours).PhotometricInterpretation == "YBR_FULL_422"


@pytest.mark.parametrize("line", ["gdcmconv -w", "gdcmconv -J", "dcmcjpeg +e1", "dcmdjpeg +te"])
def test_lossy_jpeg_has_the_same_colours_when_it_is_decoded(line, tmp_path, command):
    peer, options = line.split()
    source, theirs, ours = DATA / "us-jpeg-baseline.dcm", tmp_path / "theirs.dcm", tmp_path / "ours.dcm"
    assert run_peer(peer, [options], source, theirs) == 0
    assert command("as", peer, options, source, ours).status == 0
    expected, got, before = (pydicom.dcmread(path) for path in (theirs, ours, source))
    assert got.PhotometricInterpretation == "RGB"
    assert expected.PhotometricInterpretation == ("RGB" if peer == "dcmdjpeg" else "YBR_FULL")
    assert got.SOPInstanceUID == expected.SOPInstanceUID == before.SOPInstanceUID
    assert got.file_meta.TransferSyntaxUID == expected.file_meta.TransferSyntaxUID
    mine, his = (pydicom.pixels.pixel_array(dataset).astype(int) for dataset in (got, expected))
    assert np.abs(mine - his).max() <= 1


def test_lossless_ycbcr_is_not_rounded_to_rgb(tmp_path, command):
    native, jpeg, theirs, ours = (tmp_path / name for name in ("native", "jpeg", "theirs", "ours"))
    assert run_peer("dcmdrle", [], DATA / "us-ybr-full-rle.dcm", native) == 0
    assert run_peer("dcmcjpeg", [], native, jpeg) == 0
    assert run_peer("dcmdjpeg", [], jpeg, theirs) == 0
    assert command("as", "dcmdjpeg", jpeg, ours).status == 0
    assert pydicom.dcmread(theirs).PhotometricInterpretation == "RGB"
    assert pydicom.dcmread(ours).PhotometricInterpretation == "YBR_FULL"
    np.testing.assert_array_equal(read(ours)[1], read(native)[1])


@pytest.mark.parametrize(
    ("options", "file"),
    [("-g", "ct-explicit"), ("-g +t=", "mr-big-endian"), ("-p", "ct-j2k"), ("-p", "us-jpeg-baseline"), ("-g", "ct-rle"),
     ("-g", "ct-deflated"), ("-p", "sr-text"), ("-g +ti", "ct-explicit")],
)  # fmt: skip
def test_group_lengths_and_padding_go_where_a_line_says_so(options, file, tmp_path, command):
    padded, written = tmp_path / "padded.dcm", tmp_path / "written.dcm"
    line = [need_tool("dcmconv"), "+g", "+p", "2048", "64", str(DATA / f"{file}.dcm"), str(padded)]
    subprocess.run(line, check=True, timeout=60)
    before = pydicom.dcmread(padded)
    assert {0x00080000, 0xFFFCFFFC} & set(map(int, before.keys()))
    # It need not be said anywhere else that something was lost.
    before.pop(0x00282110, None)
    before.save_as(padded)
    ran = command("as", "dcmconv", *options.split(), padded, written)
    assert (ran.status, ran.out) == (0, "")
    after = pydicom.dcmread(written)
    assert not {0x00080000, 0xFFFCFFFC} & set(map(int, after.keys()))
    assert after.SOPInstanceUID == before.SOPInstanceUID
    assert after.get("PixelData") == before.get("PixelData")


# --- what changes the data set -------------------------------------------------------------------------------------


def body(path: Path) -> bytes:
    """Return what follows the File Meta Information."""
    data = path.read_bytes()
    return data[144 + int.from_bytes(data[140:144], "little") :]


@pytest.mark.parametrize("file", ["sr-text", "seg-binary", "ct-private-un", "mr-big-endian", "ct-deflated"])
@pytest.mark.parametrize("options", ["+te +e", "+te -e", "+ti +e", "+ti -e", "+tb +e", "+tb -e", "+t= +e", "+td +e"])
def test_lengths_are_written_as_dcmconv_writes_them(options, file, tmp_path, command):
    theirs, ours = tmp_path / "theirs.dcm", tmp_path / "ours.dcm"
    source = DATA / f"{file}.dcm"
    assert run_peer("dcmconv", options.split(), source, theirs) == 0
    assert command("as", "dcmconv", *options.split(), source, ours).status == 0
    if file == "ct-private-un" and "+ti" in options:
        # DCMTK takes private elements of unknown VR apart by its own dictionary.
        assert pydicom.dcmread(ours).PixelData == pydicom.dcmread(theirs).PixelData
    elif pydicom.dcmread(ours).file_meta.TransferSyntaxUID == f"{UIDS}.1.99":
        assert pydicom.dcmread(ours) == pydicom.dcmread(theirs)
    else:
        assert body(ours) == body(theirs)


@pytest.mark.parametrize("line", ["+te -F +e", "+ti -F +e", "+tb -F +e"])
def test_a_data_set_alone_is_written_and_read_as_by_dcmconv(line, tmp_path, command):
    theirs, ours, back = (tmp_path / name for name in ("theirs", "ours", "back"))
    assert run_peer("dcmconv", line.split(), DATA / "sr-text.dcm", theirs) == 0
    assert command("as", "dcmconv", *line.split(), DATA / "sr-text.dcm", ours).status == 0
    assert ours.read_bytes() == theirs.read_bytes()
    read_as = line.split()[0].replace("+", "-")
    for words in (["-f", read_as, "+te", "+e"], ["-f", "+te", "+e"]):
        assert run_peer("dcmconv", words, ours, back) == 0
        assert command("as", "dcmconv", *words, theirs, ours.with_suffix(".back")).status == 0
        assert body(ours.with_suffix(".back")) == body(back)
    # Without an output syntax, it is that of the source, which the line or the bytes tell.
    assert command("as", "dcmconv", "-f", theirs, back).status == 0
    assert command("as", "dcmconv", "-f", read_as, theirs, back).status == 0
    assert pydicom.dcmread(back).file_meta.TransferSyntaxUID == {
        "+te": f"{UIDS}.1", "+ti": UIDS, "+tb": f"{UIDS}.2",
    }[line.split()[0]]  # fmt: skip
    assert body(back) == theirs.read_bytes()


@pytest.mark.parametrize("name", ["chrFren", "chrGreek", "chrRuss", "chrX1", "chrKoreanMulti", "chrI2"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_text_in_utf_8_is_that_of_dcmconv(name, tmp_path, command):
    (source,) = pydicom.data.get_charset_files(f"{name}.dcm")
    theirs, ours = tmp_path / "theirs.dcm", tmp_path / "ours.dcm"
    assert run_peer("dcmconv", ["+te", "+U8"], Path(source), theirs) == 0
    assert command("as", "dcmconv", "+te", "+U8", source, ours).status == 0
    mine, his = (
        [(one.tag, str(one.value)) for one in pydicom.dcmread(path) if one.tag.element] for path in (ours, theirs)
    )
    assert mine == his


@pytest.mark.parametrize("options", ["--remove-private-tags", "--remove-retired", "--remove-private-tags --remove-ret"])
@pytest.mark.parametrize("file", ["ct-private-un", "ct-explicit", "mr-overlay-bit-15"])
def test_what_gdcmconv_removes_goes(options, file, tmp_path, command):
    source, theirs, ours = DATA / f"{file}.dcm", tmp_path / "theirs.dcm", tmp_path / "ours.dcm"
    assert run_peer("gdcmconv", options.split(), source, theirs) == 0
    assert command("as", "gdcmconv", *options.split(), source, ours).status == 0
    assert [one.tag for one in pydicom.dcmread(ours)] == [one.tag for one in pydicom.dcmread(theirs)]


def test_errors_are_ignored_where_the_image_is_whole_and_not_where_gdcmconv_makes_one_up(tmp_path, command):
    whole, cut = tmp_path / "whole.dcm", tmp_path / "cut.dcm"
    theirs, ours = tmp_path / "theirs.dcm", tmp_path / "ours.dcm"
    data = (DATA / "ct-explicit.dcm").read_bytes()
    whole.write_bytes(data + b"appended by some script\n")
    cut.write_bytes(data[:-9000])
    assert command("as", "gdcmconv", "-M", whole, ours).status == 1
    assert command("as", "gdcmconv", "-I", "-M", whole, ours).status == 0
    np.testing.assert_array_equal(read(ours)[1], read(DATA / "ct-explicit.dcm")[1])
    assert run_peer("gdcmconv", ["-I", "-M"], cut, theirs) == 0
    ours.unlink()
    assert command("as", "gdcmconv", "-I", "-M", cut, ours).status == 1
    assert not ours.exists()


# --- habits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "ours", "theirs"),
    [
        *((name, status, 1) for name in INSTALLED for status in range(1, 10)),
        *((name, status, status) for name in NAMES for status in (0, 129, 130, 143)),
        *(("dcm2dcm", status, 2 if status == 2 else 1) for status in range(1, 10)),
        ("dicom-transcode", 1, 128), ("dicom-transcode", 2, 2), ("dicom-transcode", 3, 254),
        ("dicom-transcode", 4, 253), ("dicom-transcode", 7, 253), ("dicom-transcode", 8, 252),
    ],
)  # fmt: skip
def test_statuses_are_the_peers(peer, ours, theirs):
    assert PEERS[peer].status(ExitStatus(ours)) == theirs


def test_the_status_of_dcmtx_is_to_be_had(tmp_path, command):
    line = ["-J", tmp_path / "none.dcm", tmp_path / "out.dcm"]
    assert command("as", "gdcmconv", *line).status == 1
    assert command("as", "gdcmconv", "--dcmtx-status", *line).status == 3
    assert command("as", "gdcmconv", *line, "--dcmtx-status").status == 3
    assert command("as", "--dcmtx-status", "gdcmconv", *line).status == 3
    assert command("as", "--dcmtx-status", "gdcmconv", "--bogus").status == 2
    assert command("as", "dicom-transcode", "--expl-vr-le", tmp_path / "none.dcm").status == 254


@pytest.mark.parametrize("name", NAMES)
def test_help_and_version_of_every_peer(name, command):
    shown = command("as", name, "--help")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith(f"Usage: {name} [OPTION]...")
    for option in PEERS[name].options:
        assert f"\n  {option.written}\n      " in shown.out
    version = command("as", name, "--version")
    assert (version.status, version.out.endswith(f" as {name}\n")) == (0, True)


def test_what_is_ignored_is_said_once_and_only_to_who_wants_it(tmp_path, command):
    line = [DATA / "ct-explicit.dcm", tmp_path / "out.dcm"]
    quiet = command("as", "gdcmconv", "-C", "-C", "-R", *line)
    assert (quiet.status, quiet.out, quiet.err) == (0, "", "")
    said = command("as", "gdcmconv", "-C", "-V", "-C", "-R", *line)
    assert said.err.count("dcmtx: note: gdcmconv: -C is ignored: the file meta information is checked") == 1


def test_arguments_shows_our_line(tmp_path, command):
    source, written = DATA / "ct-explicit.dcm", tmp_path / "o u t.dcm"
    ran = command("as", "dcmcjpls", "--arguments", source, written)
    assert ran.err == f"dcmtx: dcmcjpls is here: dcmtx convert --to jpegls -- {source} '{written}'\n"
    assert written.exists()


def test_directories_are_what_they_are_to_the_peer(tmp_path, command, fails):
    source = DATA / "ct-explicit.dcm"
    (tmp_path / "a").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "a" / "x.dcm").write_bytes(source.read_bytes())
    assert "it is a directory, and gdcmconv takes files" in fails(1, "as", "gdcmconv", "-J", source, tmp_path / "out")
    assert "it is a directory, and dcmcrle takes files" in fails(1, "as", "dcmcrle", tmp_path / "a", tmp_path / "b")
    line = fails(2, "as", "dcm2dcm", tmp_path / "a", source, tmp_path / "out")
    assert "a directory among several sources" in line
    assert "not a directory that exists" in fails(2, "as", "dcm2dcm", tmp_path / "a", tmp_path / "none")
    assert command("as", "dcm2dcm", "--jlsl", tmp_path / "a", tmp_path / "out").status == 0
    assert pydicom.dcmread(tmp_path / "out" / "x.dcm").file_meta.TransferSyntaxUID == f"{UIDS}.4.80"


def test_a_failure_leaves_what_was_there(tmp_path, fails):
    """gdcmconv empties its output."""
    broken = tmp_path / "broken.dcm"
    broken.write_bytes((DATA / "ct-rle.dcm").read_bytes()[:-3000])
    assert "broken.dcm" in fails(1, "as", "gdcmconv", "-w", broken, old_file(tmp_path / "out.dcm"))
    assert "standard input" in fails(1, "as", "dcmconv", "-", tmp_path / "out.dcm")


# --- called by name ------------------------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program as pip makes it."""
    path = tmp_path / "bin" / "dcmtx"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\nimport sys\nfrom dcmtx.__main__ import main\nsys.exit(main())\n")
    path.chmod(0o755)
    return path


def call(*line: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program with this copy of the package."""
    return subprocess.run(
        list(map(str, line)), capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )  # fmt: skip


def test_link_makes_links_that_are_called_by_name(program, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    made = call(program, "link", links)
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    assert {path.name: os.readlink(path) for path in links.iterdir()} == dict.fromkeys(NAMES, str(program))
    # Once more is as good.
    assert call(program, "link", links, "gdcmconv").returncode == 0

    ran = call("gdcmconv", "-i", DATA / "ct-explicit.dcm", "-L", "-o", tmp_path / "out.dcm",
               PATH=f"{links}:{os.environ['PATH']}")  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert pydicom.dcmread(tmp_path / "out.dcm").file_meta.TransferSyntaxUID == f"{UIDS}.4.80"
    ran = call(links / "dcmcjpeg", "--dcmtx-status", "+es", "a", "b")
    assert (ran.returncode, ran.stderr.startswith("dcmtx: dcmcjpeg: +es is not done here; use +eb")) == (2, True)


def test_link_replaces_nothing(program, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    old_file(links / "dcmcrle")
    before = contents(links)
    ran = call(program, "link", links)
    assert (ran.returncode, "dcmcrle: it exists, and is no link to this dcmtx" in ran.stderr) == (8, True)
    assert contents(links) == before
    assert call(program, "link", tmp_path / "none").returncode == 8
    assert call(program, "link", links, "gdcmconv").returncode == 0
    assert sorted(path.name for path in links.iterdir()) == ["dcmcrle", "gdcmconv"]


# --- gdcmconv's words in the plain command -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "plain"),
    [
        ("-J -i {src} -o {dst}", "{src} {dst} --to jpeg"),
        ("-o {dst} -L {src}", "{src} {dst} --to jpegls"),
        ("--input={src} -R {dst}", "{src} {dst} --to rle"),
        ("-K -Y -r 5 {src} {dst}", "{src} {dst} --to j2k --lossy --ratio 5"),
        ("-K -Y --rate 5 {src} {dst}", "{src} {dst} --to j2k --lossy --ratio 5"),
        ("-L -Y -e 3 {src} {dst}", "{src} {dst} --to jpegls --lossy --near 3"),
        ("-L -Y --lossy-error 3 {src} {dst}", "{src} {dst} --to jpegls --lossy --near 3"),
        ("-L -Y --allowed-error 3 {src} {dst}", "{src} {dst} --to jpegls --lossy --near 3"),
        ("-F -X {src} {dst}", "{src} {dst} --to explicit --force"),
    ],
)
def test_words_with_an_equal_do_the_same(words, plain, tmp_path, command):
    written = []
    for line in (words, plain):
        dst = tmp_path / "out.dcm"
        filled = [word.format(src=DATA / "us-rgb-by-pixel.dcm", dst=dst) for word in line.split()]
        assert command(*filled).status == 0
        dataset = pydicom.dcmread(dst)
        # When, in seconds, is in what a lossy image says of itself.
        written.append((dataset.file_meta.TransferSyntaxUID, dataset.SOPInstanceUID, dataset.PixelData))
        dst.unlink()
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-K -t 128,64 a b", "-t is --to, not gdcmconv's size of a tile; leave it out, or say --htj2k --tile 128"),
        ("-K -n 4 a b", "-n is --no-clobber, not gdcmconv's number of resolutions; say --resolutions 4"),
        ("-K -Y -q 45 a b", "--quality does not go with j2k; gdcmconv's is --psnr 45 here"),
        ("-v", "-v is --verbose, not gdcmconv's version; say dcmtx --version"),
        ("-J -i a", "no DST; name the file or directory to write"),
        ("-J", "no SRC and no DST; name the file or directory to write"),
    ],
)
def test_words_that_mean_something_else_say_what_to_type(line, expected, fails):
    assert fails(2, *line.split()).startswith(f"dcmtx: {expected}; try ")
