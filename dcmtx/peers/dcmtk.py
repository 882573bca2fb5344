"""The options of DCMTK's tools: dcmcjpeg, dcmdjpeg, dcmcjpls, dcmdjpls, dcmcrle, dcmdrle."""

from __future__ import annotations

from dcmtx.errors import UsageError
from dcmtx.peers.dcmtk_groups import (
    AUTO_PLANES,
    BY_PIXEL,
    BY_PLANE,
    COLOUR_DECODING,
    COLOUR_OF_SOURCE,
    FRAGMENTS,
    FRAGMENTS_OF_RLE,
    GENERAL,
    GROUP_LENGTHS,
    INPUT_FILE,
    INPUT_SYNTAX,
    LENGTHS,
    NATIVE_OUTPUT,
    NEW_VRS,
    OUTPUT_FILE,
    PADDING,
    SCALED,
    SOP_CLASS,
    UID_KEPT,
    UID_OF_LOSSY,
    UID_OF_RLE,
    WINDOWS,
    WORKAROUND_INCOMPLETE,
    WORKAROUNDS,
)
from dcmtx.peers.table import Grammar, Group, Peer, Settings, done, ignored, lossless, refused

_USAGE = "[OPTION]... SRC DST"
_CODING = "it changes how pixels are coded, not which; dcmtx takes what the standard has by default"
_NATIVE = "It decodes every syntax that dcmtx knows, not that of its name alone."
_ENCODED = (
    "A source that is compressed otherwise is decoded first, where DCMTK gives up. One that has the target syntax "
    "already is copied."
)
_NO_PIXELS = (
    "An object without pixels becomes Explicit VR Little Endian, with a note: DCMTK gives it the UID of a compressed "
    "syntax."
)
# DCMTK's default.
_SELECTION_VALUE = "6"
# Beyond, DCMTK makes one fragment of a frame.
_LARGEST_KBYTES = 1 << 22
_P14 = "jpeg-lossless-p14"


def _log(settings: Settings) -> Settings:
    """Turn a DCMTK log level into ours, and see that an input syntax has its condition."""
    asked = dict(settings)
    if asked.pop("read", "") != "dataset" and asked.pop("assume", ""):
        raise UsageError("-te, -tb and -ti go with -f (--read-dataset) alone", advice="add -f, or leave them out")
    level = asked.pop("log", "")
    if level in ("fatal", "error"):
        asked["say"] = "--quiet"
    elif level in ("info", "debug", "trace"):
        asked["say"] = "--verbose"
    elif level not in ("", "warn"):
        raise UsageError(f"-ll {level}: there is no such level", advice="use fatal, error, warn, info, debug or trace")
    return asked


def _fragments(settings: Settings) -> Settings:
    """Turn DCMTK's size of a fragment, in units of 1024 bytes, into ours."""
    asked = dict(settings)
    size = asked.pop("kbytes", "")
    if size and not (size.isdecimal() and 1 <= int(size) < _LARGEST_KBYTES):
        raise UsageError(f"+fs {size}: a fragment has from 1 to {_LARGEST_KBYTES - 1} times 1024 bytes")
    return asked | ({"fragment-size": str(int(size) * 1024)} if size else {})


def _finish_jpeg(settings: Settings) -> Settings:
    asked = {"target": "jpeg-lossless", **_fragments(_log(settings))}
    if asked["target"] == _P14:
        asked.setdefault("predictor", _SELECTION_VALUE)
    elif "predictor" in asked:
        raise UsageError("dcmcjpeg: +sv goes with +el (--encode-lossless) alone", advice="add +el, or leave +sv out")
    if not asked.get("lossy"):
        # DCMTK ignores it.
        asked.pop("quality", "")
    if asked["target"] != "jpeg-baseline":
        # JPEG Extended is greyscale only.
        asked.pop("subsampling", "")
    return asked


def _finish_jpegls(settings: Settings) -> Settings:
    asked = {"target": "jpegls", **_fragments(_log(settings))}
    if "near" in asked and not asked.get("lossy"):
        raise UsageError("dcmcjpls: +md goes with +en (--encode-nearlossless) alone", advice="add +en")
    if asked.get("lossy"):
        asked.setdefault("near", "2")
    return asked


def _finish_rle(settings: Settings) -> Settings:
    return {"target": "rle", **_log(settings)}


def _finish_native(settings: Settings) -> Settings:
    return {"target": "explicit", **_log(settings)}


_RESCALED = (
    "Pixels are never rescaled or windowed: a target that has too few bits is refused, where DCMTK maps the range of "
    "the pixels to 8 or 12 bits."
)

_DCMCJPEG = Peer(
    "dcmcjpeg",
    "DCMTK's encoder of JPEG",
    _USAGE,
    grammar=Grammar.DCMTK,
    finish=_finish_jpeg,
    groups=(
        GENERAL, INPUT_FILE, INPUT_SYNTAX,
        Group("Compatibility", (
            lossless("+Ma --accept-acr-nema", "leave it out: Photometric Interpretation must be there"),
            lossless("+Mp --accept-palettes", "leave it out: palettes must be what the standard wants"),
        )),
        Group("JPEG process", (
            done("+e1 --encode-lossless-sv1", target="jpeg-lossless", lossy=""),
            done("+el --encode-lossless", "predictor 6 unless +sv says another", target=_P14, lossy=""),
            done("+eb --encode-baseline", target="jpeg-baseline", lossy="yes"),
            done("+ee --encode-extended", target="jpeg-extended", lossy="yes"),
            refused("+es --encode-spectral", "use +eb or +ee: this process is retired"),
            refused("+ep --encode-progressive", "use +eb or +ee: this process is retired"),
        )),
        Group("Lossless JPEG", (
            ignored("+tl --true-lossless", "what is lossless is lossless"),
            refused("+pl --pseudo-lossless", "leave it out: it loses"),
            done("+sv --selection-value", "only with +el, as in DCMTK", values="N", predictor="{}"),
            refused("+pt --point-transform", "leave it out: it loses the low bits", values="N", harmless="0"),
        )),
        Group("Lossy JPEG", (
            done("+q --quality", values="N", quality="{}"),
            lossless("+sm --smooth", "leave it out: pixels are not smoothed", values="N", harmless="0"),
        )),
        Group("Other JPEG options", (
            ignored("+ho --huffman-optimize", _CODING),
            ignored("-ho --huffman-standard", _CODING),
        )),
        Group("Bits", (
            ignored("+ba --bits-auto", "samples keep their bits"),
            lossless("+be --bits-force-8", SCALED),
            lossless("+bt --bits-force-12", SCALED),
            lossless("+bs --bits-force-16", SCALED),
        )),
        Group("Colour of what is encoded", (
            ignored("+cy --color-ybr", "that is what dcmtx does when lossy; what is lossless keeps its colours"),
            done("+cr --color-rgb", subsampling="444"),
            refused("+cm --monochrome", "leave it out: colours are kept"),
        )),
        COLOUR_OF_SOURCE, WORKAROUNDS,
        Group("Subsampling", (
            done("+s2 --sample-422", subsampling="422"),
            done("+s4 --nonstd-444", "the colours stay RGB, as the standard wants; DCMTK writes YBR_FULL",
                 subsampling="444"),
            lossless("+n2 --nonstd-422-full", "use +s2: this is not standard"),
            lossless("+n1 --nonstd-411-full", "use `dcmtx convert --subsampling 420`: this is not standard"),
            lossless("+np --nonstd-411", "use `dcmtx convert --subsampling 420`: this is not standard"),
        )),
        FRAGMENTS, WINDOWS, SOP_CLASS, UID_OF_LOSSY, NEW_VRS, GROUP_LENGTHS, LENGTHS, PADDING,
    ),
    remarks=(
        _RESCALED,
        _ENCODED,
        "A source of lossy JPEG in YCbCr becomes RGB under a lossless target; dcmcjpeg leaves it in YBR_FULL.",
        _NO_PIXELS,
    ),
)  # fmt: skip

_DCMDJPEG = Peer(
    "dcmdjpeg",
    "DCMTK's decoder of JPEG",
    _USAGE,
    grammar=Grammar.DCMTK,
    finish=_finish_native,
    groups=(
        GENERAL, INPUT_FILE, COLOUR_DECODING,
        Group("Planar configuration", (
            done("+pa --planar-auto", AUTO_PLANES, planar=""),
            BY_PIXEL, BY_PLANE,
        )),
        Group("Bits stored, in versions after 3.6.7", (
            ignored("+bs --bits-stored-fix", "what a codestream says of its bits is told where it contradicts"),
            refused("-bs --bits-stored-keep", "leave it out: Bits Stored is true of what is written"),
        )),
        UID_KEPT, WORKAROUNDS, OUTPUT_FILE, NATIVE_OUTPUT, NEW_VRS, GROUP_LENGTHS, LENGTHS, PADDING,
    ),
    remarks=(
        _NATIVE,
        "YBR_FULL that was encoded without loss stays, as exact as it is. dcmdjpeg makes RGB of it, which rounds.",
        "A damaged codestream is refused; DCMTK writes what it could decode, and ends with 0.",
    ),
)  # fmt: skip

_DCMCJPLS = Peer(
    "dcmcjpls",
    "DCMTK's encoder of JPEG-LS",
    _USAGE,
    grammar=Grammar.DCMTK,
    finish=_finish_jpegls,
    groups=(
        GENERAL, INPUT_FILE, INPUT_SYNTAX,
        Group("JPEG-LS process", (
            done("+el --encode-lossless", target="jpegls", lossy=""),
            done("+en --encode-nearlossless", "NEAR is 2 unless +md says another", target="jpegls-near", lossy="yes"),
            done("+md --max-deviation", "only with +en, as in DCMTK", values="N", near="{}"),
        )),
        Group("JPEG-LS coding", (
            ignored("+pr --prefer-raw", _CODING),
            ignored("+pc --prefer-cooked", _CODING),
            ignored("+t1 --threshold1", _CODING, values="N"),
            ignored("+t2 --threshold2", _CODING, values="N"),
            ignored("+t3 --threshold3", _CODING, values="N"),
            ignored("+rs --reset", _CODING, values="N"),
            ignored("+il --interleave-line", _CODING),
            ignored("+is --interleave-sample", _CODING),
            ignored("+in --interleave-none", _CODING),
            ignored("+iv --interleave-default", _CODING),
            ignored("+ps --padding-standard", "a codestream of odd length is padded as the standard says"),
            ignored("+pz --padding-zero", "a codestream of odd length is padded as the standard says"),
        )),
        FRAGMENTS, SOP_CLASS, UID_OF_LOSSY, NEW_VRS, GROUP_LENGTHS, LENGTHS, PADDING,
    ),
    remarks=(_ENCODED, _NO_PIXELS, "Signed pixels can be near-lossless, where none of them would change its sign."),
)  # fmt: skip

_DCMDJPLS = Peer(
    "dcmdjpls",
    "DCMTK's decoder of JPEG-LS",
    _USAGE,
    grammar=Grammar.DCMTK,
    finish=_finish_native,
    groups=(
        GENERAL, INPUT_FILE,
        Group("Planar configuration", (
            done("+pr --planar-restore", AUTO_PLANES, planar=""),
            done("+pa --planar-auto", AUTO_PLANES, planar=""),
            BY_PIXEL, BY_PLANE,
        )),
        UID_KEPT,
        Group("Workarounds", (
            WORKAROUND_INCOMPLETE,
            refused("+io --ignore-offsettable", "leave it out: an offset table that is wrong is told"),
        )),
        OUTPUT_FILE, NATIVE_OUTPUT, NEW_VRS, GROUP_LENGTHS, LENGTHS, PADDING,
    ),
    remarks=(_NATIVE,),
)  # fmt: skip

_DCMCRLE = Peer(
    "dcmcrle",
    "DCMTK's encoder of RLE",
    _USAGE,
    grammar=Grammar.DCMTK,
    finish=_finish_rle,
    groups=(
        GENERAL, INPUT_FILE, INPUT_SYNTAX, FRAGMENTS_OF_RLE, SOP_CLASS, UID_OF_RLE, NEW_VRS, GROUP_LENGTHS, LENGTHS,
        PADDING,
    ),
    remarks=(_ENCODED, _NO_PIXELS),
)  # fmt: skip

_DCMDRLE = Peer(
    "dcmdrle",
    "DCMTK's decoder of RLE",
    _USAGE,
    grammar=Grammar.DCMTK,
    finish=_finish_native,
    groups=(
        GENERAL, INPUT_FILE, UID_KEPT,
        Group("RLE segments", (
            ignored("+bd --byte-order-default", "that is what the standard says"),
            refused("+br --byte-order-reverse", "leave it out: it is for files of a writer that was wrong"),
        )),
        OUTPUT_FILE, NATIVE_OUTPUT, NEW_VRS, GROUP_LENGTHS, LENGTHS, PADDING,
    ),
    remarks=(_NATIVE,),
)  # fmt: skip

PEERS = (_DCMCJPEG, _DCMDJPEG, _DCMCJPLS, _DCMDJPLS, _DCMCRLE, _DCMDRLE)
log_level = _log
