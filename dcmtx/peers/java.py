"""The options of dcm2dcm (dcm4che 5), from its documentation."""

from __future__ import annotations

from dcmtx.errors import UsageError
from dcmtx.peers.table import HELP, VERSION, Grammar, Group, Peer, Settings, done, ignored, refused
from dcmtx.syntax import Loss, find

_EXPLICIT = "use `dcmtx convert --lengths explicit`, which is for sequences and items"
_UNDEFINED = "use `dcmtx convert --lengths undefined`, which is for sequences and items"
_VERIFIED = "what is written is decoded and compared always: bit for bit, or within NEAR"
# dcm4che's defaults.
_DEFAULTS = {"jpeg-lossless-p14": ("predictor", "6"), "JPEG2000": ("ratio", "10")}
_NAMES = {
    "1.2.840.10008.1.2.4.57": "jpeg-lossless-p14",
    "1.2.840.10008.1.2.4.91": "JPEG2000",
}


def _finish(settings: Settings) -> Settings:
    asked = {"target": "explicit", **settings}
    target = asked["target"] = _NAMES.get(asked["target"], asked["target"])
    syntax = find(target)
    if syntax is not None and syntax.loss in (Loss.LOSSY, Loss.BOTH):
        asked["lossy"] = "yes"
    if "quality" in asked:
        asked["quality"] = _percent(asked["quality"])
    if not asked.get("lossy"):
        # dcm2dcm ignores them.
        asked = {name: value for name, value in asked.items() if name not in ("quality", "ratio", "near")}
    if target in _DEFAULTS:
        asked.setdefault(*_DEFAULTS[target])
    return asked


def _percent(text: str) -> str:
    """Convert a quality from 0..1 to 0..100."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UsageError(f"dcm2dcm: -q {text} is no quality from 0.0 to 1.0", advice="give one, such as -q 0.9")
    return str(round(value * 100))


_GROUPS = (
    Group("Options", (
        done("-h --help", "this table", **HELP),
        done("-V --version", "the version of dcmtx", **VERSION),
        done("-t --transfer-syntax", "consents to loss where the syntax may lose", values="UID", target="{}"),
        done("--jpeg", "Baseline up to 8 bits, Extended up to 12", target="jpeg", lossy="yes"),
        done("--jpll", target="jpeg-lossless"),
        done("--jpls", "of older versions", target="jpegls"),
        done("--jlsl", target="jpegls"),
        done("--jlsn", "NEAR is 2 unless -N says another", target="jpegls-near", lossy="yes"),
        done("--j2kr", target="j2k"),
        done("--j2ki", "ratio 10 unless -Q says another", target="JPEG2000", lossy="yes"),
        done("--jxll", target="jpegxl-lossless"),
        done("--jxly", target="jpegxl", lossy="yes"),
        done("--defl", target="deflated"),
        done("--ivrle", target="implicit"),
        done("--evrbe", target="big-endian"),
        done("-q", "from 0.0 to 1.0, as --quality from 0 to 100; 0.9 by default", values="QUALITY", quality="{}"),
        done("-Q", "as --ratio", values="RATIO", ratio="{}"),
        done("-N", values="N", near="{}"),
        ignored("--effort", "JPEG XL: the effort is dcmtx's own; it changes the size alone", values="N"),
        ignored("--decoding-speed", "JPEG XL: it is dcmtx's own", values="N"),
        refused("-C", "use an option of `dcmtx convert`: --quality, --ratio, --near, --predictor", values="NAME=VALUE"),
        ignored("--verify", _VERIFIED, values="MAX-ERROR"),
        ignored("--verify-block", _VERIFIED, values="SIZE"),
        done("--max-threads", values="N", jobs="{}"),
        ignored("--legacy", "it chooses between parts of dcm4che"),
        refused("-f --retain-fmi", "leave it out: who wrote DST is said to be dcmtx"),
        done("-F --no-fmi", **{"dataset-only": "yes"}),
        refused("--group-len", "leave it out: group lengths are retired"),
        refused("--expl-item-len", _EXPLICIT),
        refused("--undef-item-len", _UNDEFINED),
        refused("--expl-seq-len", _EXPLICIT),
        refused("--undef-seq-len", _UNDEFINED),
    )),
)  # fmt: skip

PEERS = (
    Peer(
        "dcm2dcm",
        "dcm4che's converter, read from the documentation and source of version 5",
        "[OPTION]... SRC... DST",
        grammar=Grammar.COMMONS,
        groups=_GROUPS,
        finish=_finish,
        several=True,
        statuses=((2, 2),),
        once=frozenset(["target"]),
        remarks=(
            "Without a target DST is Explicit VR Little Endian.",
            "A target that does not hold the pixels is refused. dcm2dcm silently writes another syntax.",
            "A file that fails makes the status 1. dcm2dcm ends with 0, and may have deleted DST.",
            "One directory at a time: dcm2dcm would throw the files of several into one.",
            "Nothing is printed for a file that is done; -Q counts from Bits Stored.",
        ),
    ),
)
