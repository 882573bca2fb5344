"""The options of dicom-transcode (dicom-rs), from its documentation."""

from __future__ import annotations

import os

from dcmtx.errors import ExitStatus, UsageError
from dcmtx.peers.table import HELP, LOUD, VERSION, Grammar, Group, Peer, Settings, done, ignored, refused
from dcmtx.syntax import Loss, find

# dicom-rs's default.
_QUALITY = "85"


def _finish(settings: Settings) -> Settings:
    asked = dict(settings)
    if "target" not in asked:
        raise UsageError("dicom-transcode: no target", advice="name one, such as --ts UID or --jpeg-ls-lossless")
    if "destination" not in asked and "source" in asked:
        asked["destination"] = os.path.splitext(asked["source"])[0] + ".new.dcm"
    syntax = find(asked["target"])
    lossy = syntax is not None and syntax.loss in (Loss.LOSSY, Loss.BOTH)
    quality = asked.pop("quality", "")
    if not lossy:
        return asked
    asked["lossy"] = "yes"
    if asked["target"] in ("jpegls-near", "1.2.840.10008.1.2.4.81"):
        if quality:
            raise UsageError(
                "dicom-transcode: --quality says nothing of how far values of JPEG-LS may be off",
                advice="leave it out for 2, or use `dcmtx convert --to jpegls --lossy --near N`",
            )
        return asked
    asked["quality"] = quality or _QUALITY
    return asked


_GROUPS = (
    Group("Options", (
        done("-o --output", "DST; by default SRC with .new.dcm for its suffix", values="FILE", destination="{}"),
        done("--quality", f"JPEG, JPEG XL: {_QUALITY} by default; refused for JPEG-LS; ignored where nothing is lost",
             values="N", quality="{}"),
        ignored("--effort", "it is dcmtx's own; it changes the size alone", values="N"),
        done("--ts", "consents to loss where the syntax may lose", values="UID", target="{}"),
        done("--expl-vr-le", target="explicit"),
        done("--impl-vr-le", target="implicit"),
        done("--deflated-image-frame", target="deflated-frames"),
        done("--jpeg-baseline", target="jpeg-baseline"),
        done("--jpeg-ls-lossless", target="jpegls"),
        done("--jpeg-ls", "NEAR is 2", target="jpegls-near"),
        done("--jpeg-xl-lossless", target="jpegxl-lossless"),
        done("--jpeg-xl", target="jpegxl"),
        refused("--retain-implementation", "leave it out: who wrote DST is said to be dcmtx"),
        done("-v --verbose", **LOUD),
        done("-h --help", "this table", **HELP),
        done("-V --version", "the version of dcmtx", **VERSION),
    )),
)  # fmt: skip

PEERS = (
    Peer(
        "dicom-transcode",
        "dicom-rs's converter, read from the documentation and source of version 0.9",
        "[OPTION]... SRC",
        grammar=Grammar.CLAP,
        groups=_GROUPS,
        finish=_finish,
        once=frozenset(["target"]),
        statuses=((ExitStatus.USAGE, 2), (ExitStatus.INPUT, 254), (ExitStatus.OUTPUT, 252), (ExitStatus.BUG, 128)),
        failure=253,
        remarks=(
            "Pixels of more than 8 bits are refused for --jpeg-baseline; dicom-transcode drops their low bits.",
            "An image that has lost something gets a new UID and the attributes of a derived one.",
            "Pixels in YBR_FULL stay so; dicom-transcode calls them RGB.",
        ),
    ),
)
