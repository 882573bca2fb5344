"""Options that several DCMTK tools share (from version 3.6.7)."""

from __future__ import annotations

from dcmtx.peers.table import HELP, LOUD, QUIET, VERSION, Group, done, ignored, lossless, refused

_ALWAYS = "that is what dcmtx does"
_ASSUMED = "only with -f, as in DCMTK; SRC may have file meta information all the same, which counts then"
_WINDOW = "leave it out: pixels are stored, not windowed"
_SCALED = "leave it out: pixels are never rescaled; what has too many bits for the target is refused"

GENERAL = Group("General options", (
    done("-h --help", "this table", **HELP),
    done("--version", "the version of dcmtx", **VERSION),
    done("--arguments", "prints the command line of dcmtx that this one is", show="yes"),
    done("-q --quiet", "errors are printed still", **QUIET),
    done("-v --verbose", **LOUD),
    done("-d --debug", "as --verbose", **LOUD),
    done("-ll --log-level", "fatal, error: as --quiet; info, debug, trace: as --verbose", values="LEVEL", log="{}"),
    ignored("-lc --log-config", "there is no logger", values="FILE"),
))  # fmt: skip

INPUT_FILE = Group("Input file format", (
    ignored("+f --read-file", "files with file meta information are read, and those whose bytes show what they are"),
    ignored("+fo --read-file-only", "what has no file meta information is read too, if its bytes show what it is"),
    done("-f --read-dataset", "SRC may have no file meta information; its bytes show what it is, or an input syntax "
         "says it", read="dataset"),
))  # fmt: skip

INPUT_SYNTAX = Group("Input transfer syntax", (
    ignored("-t= --read-xfer-auto", _ALWAYS),
    ignored("-td --read-xfer-detect", "a data set is read as its bytes show, whatever its file meta information says"),
    done("-te --read-xfer-little", _ASSUMED, assume="explicit"),
    done("-tb --read-xfer-big", _ASSUMED, assume="big-endian"),
    done("-ti --read-xfer-implicit", _ASSUMED, assume="implicit"),
))  # fmt: skip

NEW_VRS = Group("Post-1993 value representations", (
    ignored("+u --enable-new-vr", _ALWAYS),
    refused("-u --disable-new-vr", "leave it out: attributes keep their VR"),
))  # fmt: skip

GROUP_LENGTHS = Group("Group lengths", (
    ignored("+g= --group-length-recalc", "group lengths, retired, are left out of what is written anew"),
    refused("+g --group-length-create", "leave it out: group lengths are retired"),
    done("-g --group-length-remove", "SRC is written anew without them; the pixels stay", rewrite="yes"),
))  # fmt: skip

_LENGTH_OPTIONS = (
    done("+e --length-explicit", "without it, lengths stay as they are in SRC", lengths="explicit"),
    done("-e --length-undefined", lengths="undefined"),
)
LENGTHS = Group("Lengths of sequences and items", _LENGTH_OPTIONS)
LENGTHS_OVERSIZED = Group("Lengths of sequences and items", (
    *_LENGTH_OPTIONS,
    ignored("+eo --write-oversized", "a sequence that is too long for an explicit length is refused"),
    ignored("-eo --abort-oversized", _ALWAYS),
))  # fmt: skip

PADDING = Group("Data set trailing padding", (
    ignored("-p= --padding-retain", "padding is left out of what is written anew"),
    done("-p --padding-off", "SRC is written anew without it; the pixels stay", rewrite="yes"),
    refused("+p --padding-create", "leave it out: nothing is padded", values="FILE-PAD ITEM-PAD"),
))  # fmt: skip

OUTPUT_FILE = Group("Output file format", (
    ignored("+F --write-file", _ALWAYS),
    done("-F --write-dataset", **{"dataset-only": "yes"}),
))  # fmt: skip

NATIVE_OUTPUT = Group("Output transfer syntax", (
    done("+te --write-xfer-little", target="explicit"),
    done("+tb --write-xfer-big", target="big-endian"),
    done("+ti --write-xfer-implicit", target="implicit"),
))  # fmt: skip

_TABLES = (
    done("+ot --offset-table-create", "a Basic Offset Table; an extended one where 32 bits may not do"),
    done("-ot --offset-table-empty", **{"offset-table": "empty"}),
)
FRAGMENTS = Group("Encapsulation", (
    done("+ff --fragment-per-frame", "dcmtx does that by default", kbytes=""),
    done("+fs --fragment-size", "As `--fragment-size` with N times 1024", values="KBYTES", kbytes="{}"),
    *_TABLES,
))  # fmt: skip
FRAGMENTS_OF_RLE = Group("Encapsulation", (
    ignored("+ff --fragment-per-frame", _ALWAYS),
    refused("+fs --fragment-size", "leave it out: in RLE a frame is one fragment (PS3.5 A.4.2)", values="KBYTES"),
    *_TABLES,
))  # fmt: skip

SOP_CLASS = Group("SOP Class UID", (
    ignored("+cd --class-default", _ALWAYS),
    refused("+cs --class-sc", "leave it out: the SOP Class stays"),
))  # fmt: skip

UID_OF_LOSSY = Group("SOP Instance UID", (
    done("+ud --uid-default", uid="auto"),
    done("+ua --uid-always", uid="new"),
    done("+un --uid-never", uid="keep"),
))  # fmt: skip

UID_KEPT = Group("SOP Instance UID", (
    done("+ud --uid-default", uid="auto"),
    done("+ua --uid-always", uid="new"),
))  # fmt: skip

UID_OF_RLE = Group("SOP Instance UID", (
    done("+un --uid-never", uid="keep"),
    done("+ua --uid-always", uid="new"),
))  # fmt: skip

_COLOUR = (
    "leave it out: YCbCr of lossy JPEG becomes RGB, and colours that were encoded without loss stay; `dcmtx convert "
    "--photometric` asks for others"
)
_YCBCR = "YCbCr of lossy JPEG becomes RGB; colours that were encoded without loss stay"
COLOUR_NAMES = ("+cl --conv-lossy", "+cg --conv-guess", "+cgl --conv-guess-lossy", "+ca --conv-always",
                "+cn --conv-never")  # fmt: skip
COLOUR_DECODING = Group("Colour of what is decoded", (
    ignored("+cp --conv-photometric", _YCBCR),
    *(refused(names, _COLOUR) for names in COLOUR_NAMES),
))  # fmt: skip
COLOUR_OF_SOURCE = Group("Colour of a source that is compressed", (
    ignored("+cp --conv-photometric", _YCBCR),
    *(lossless(names, _COLOUR) for names in COLOUR_NAMES),
))  # fmt: skip

_DAMAGED = "leave it out: a file that is damaged is refused, or its damage is a note"
WORKAROUND_INCOMPLETE = refused("+wi --workaround-incpl", _DAMAGED)
WORKAROUNDS = Group("Workarounds", (
    refused("+w6 --workaround-pred6", "leave it out: predictor 6 is decoded as the standard says"),
    WORKAROUND_INCOMPLETE,
    refused("+wc --workaround-cornell", _DAMAGED),
))  # fmt: skip

_PLANES = "what is not compressed too, which DCMTK leaves"
AUTO_PLANES = "what is decoded is by pixel, what is not compressed stays"
BY_PIXEL = done("+px --color-by-pixel", _PLANES, planar="0")
BY_PLANE = done("+pl --color-by-plane", _PLANES, planar="1")
WINDOWS = Group("VOI windows, scaling and rescaling", (
    ignored("-W --no-windowing", _ALWAYS),
    refused("+Wi --use-window", _WINDOW, values="N"),
    refused("+Wl --use-voi-lut", _WINDOW, values="N"),
    refused("+Wm --min-max-window", _WINDOW),
    refused("+Wn --min-max-window-n", _WINDOW),
    refused("+Wr --roi-min-max-window", _WINDOW, values="LEFT TOP WIDTH HEIGHT"),
    refused("+Wh --histogram-window", _WINDOW, values="N"),
    refused("+Ww --set-window", _WINDOW, values="CENTER WIDTH"),
    ignored("+sp --scaling-pixel", "pixels are never rescaled; what has too many bits for the target is refused"),
    lossless("+sr --scaling-range", _SCALED),
    ignored("+ri --rescale-identity", "Rescale Slope and Intercept stay as they are"),
    lossless("+rm --rescale-map", _SCALED),
))  # fmt: skip
SCALED = _SCALED
