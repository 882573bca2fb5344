"""The options of DCMTK's dcmconv."""

from __future__ import annotations

from dcmtx.peers.dcmtk import log_level
from dcmtx.peers.dcmtk_groups import (
    GENERAL,
    GROUP_LENGTHS,
    INPUT_FILE,
    INPUT_SYNTAX,
    LENGTHS_OVERSIZED,
    NEW_VRS,
    OUTPUT_FILE,
    PADDING,
)
from dcmtx.peers.table import Grammar, Group, Option, Peer, Settings, done, ignored, refused

_DEFAULT = "that is what dcmtx does"
_AS_IT_IS = "leave it out: SRC is read as it is written, and what is against the standard is refused or noted"
_CHARSET = "use +U8, or leave it out: text stays in its character set, or becomes UTF-8"
_FAITHFUL = "leave it out: text is converted as it is, or refused"


def _finish(settings: Settings) -> Settings:
    return {"target": "same", **log_level(settings)}


def _parsing(default: str, *others: str) -> tuple[Option, ...]:
    """Return options of which the first is DCMTK's default, which dcmtx does too."""
    return (ignored(default, _DEFAULT), *(refused(other, _AS_IT_IS) for other in others))


_PARSING = Group("Parsing", (
    *_parsing("+ml --use-meta-length", "-ml --ignore-meta-length"),
    *_parsing("+ao --accept-odd-length", "+ae --assume-even-length"),
    *_parsing("+ev --use-explicit-vr", "-ev --ignore-explicit-vr"),
    *_parsing("+vr --treat-as-unknown", "-vr --assume-implicit"),
    *_parsing("+ui --enable-cp246", "-ui --disable-cp246"),
    *_parsing("-uc --retain-un", "+uc --convert-un"),
    *_parsing("-sq --maxlength-dict", "+sq --maxlength-seq"),
    *_parsing("-rd --use-delim-items", "+rd --replace-wrong-delim"),
    *_parsing("-oi --illegal-obow-rej", "+oi --illegal-obow-conv"),
    *_parsing("-vi --illegal-voi-rej", "+vi --illegal-voi-conv"),
    *_parsing("-pe --abort-expl-pixdata", "+pe --use-expl-pixdata"),
    *_parsing("-Ep --handle-parse-errors", "+Ep --ignore-parse-errors"),
    refused("+st --stop-after-elem", "leave it out: a data set is read to its end", values="TAG"),
    refused("+sb --stop-before-elem", "leave it out: a data set is read to its end", values="TAG"),
    ignored("+dc --enable-correction", "nothing that would be corrected is changed without a note"),
    ignored("-dc --disable-correction", "nothing that would be corrected is changed without a note"),
    ignored("+bd --bitstream-deflated", _DEFAULT),
    ignored("+bz --bitstream-zlib", "a deflated data set that zlib wraps is read, too"),
))  # fmt: skip

PEERS = (
    Peer(
        "dcmconv",
        "DCMTK's converter of encodings, read from version 3.6.7 and its help",
        "[OPTION]... SRC DST",
        grammar=Grammar.DCMTK,
        finish=_finish,
        groups=(
            GENERAL, INPUT_FILE, INPUT_SYNTAX, _PARSING,
            Group("Specific Character Set", (
                done("+U8 --convert-to-utf8", charset="utf-8"),
                refused("+L1 --convert-to-latin1", _CHARSET),
                refused("+A7 --convert-to-ascii", _CHARSET),
                refused("+C --convert-to-charset", _CHARSET, values="CHARSET"),
                refused("-Ct --transliterate", _FAITHFUL),
                refused("-Cd --discard-illegal", _FAITHFUL),
            )),
            Group("Other processing", (
                done("-ig --no-invalid-groups", remove="invalid"),
            )),
            Group(OUTPUT_FILE.title, (
                ignored("+Fm --write-new-meta-info", _DEFAULT),
                *OUTPUT_FILE.options,
            )),
            Group("Output transfer syntax", (
                done("+t= --write-xfer-same", target="same"),
                done("+te --write-xfer-little", target="explicit"),
                done("+tb --write-xfer-big", target="big-endian"),
                done("+ti --write-xfer-implicit", target="implicit"),
                done("+td --write-xfer-deflated", target="deflated"),
                refused("+tg --write-xfer-ge", "use +ti: this syntax is private"),
            )),
            NEW_VRS, GROUP_LENGTHS, LENGTHS_OVERSIZED, PADDING,
            Group("Deflating", (
                ignored("+cl --compression-level", "the level is dcmtx's own; the content is the same", values="N"),
            )),
        ),
        remarks=(
            "Without a target SRC is copied, as it is: byte for byte.",
            "What is compressed is decoded for an output syntax that is not, where dcmconv gives up.",
        ),
    ),
)  # fmt: skip
