"""The options of gdcmconv (GDCM 3)."""

from __future__ import annotations

from dcmtx.errors import UsageError
from dcmtx.peers.table import HELP, LOUD, QUIET, VERSION, Grammar, Group, Peer, Settings, done, ignored, refused

_PLAIN = "only with -Y (--lossy); without, gdcmconv ignores it too"
_PALETTE = "use -l: the RGB that it makes has as many bits as the palette"
_ICON = "leave it out: an icon shows the first window of the image, or all values from the least to the greatest"


def _finish(settings: Settings) -> Settings:
    """Add gdcmconv's targets and defaults."""
    asked = dict(settings)
    codec, encoding, raw = asked.pop("codec", ""), asked.pop("encoding", ""), asked.pop("raw", "")
    rate, quality, near = (asked.pop(name, "") for name in ("rate", "quality", "near"))
    lossy, resolutions, force = (asked.pop(name, "") for name in ("lossy", "resolutions", "force"))
    asked["remove"] = ",".join(kind for kind in ("private", "retired") if asked.pop(kind, ""))
    if codec and encoding:
        raise UsageError(
            f"gdcmconv: one file has one transfer syntax, not both {codec} and {encoding}",
            advice="leave one of the options out",
        )
    asked["target"] = codec or encoding or ("raw" if raw else "same")
    if lossy and "photometric" in asked:
        # Consent to colours that are rounded.
        asked["lossy"] = "yes"
    if not codec:
        return asked
    # gdcmconv fails if there are no pixels.
    asked["no-pixels"] = "fail"
    # Other targets ignore them, as in gdcmconv.
    asked |= {"force": force, "resolutions": resolutions if codec == "j2k" else ""}
    if not lossy:
        return asked
    for name, value in (("-r (--rate)", rate), ("-q (--quality)", quality), ("-e (--allowed-error)", near)):
        if "," in value:
            raise UsageError(
                f"gdcmconv: {name} {value}: there is one layer of quality, not several",
                advice=f"give the last value alone: {value.rpartition(',')[2]}",
            )
    if codec == "j2k" and not rate and not quality:
        # gdcmconv writes reversible JPEG 2000 here, under the UID that allows loss.
        asked["target"] = "JPEG2000"
        return asked
    asked["lossy"] = "yes"
    if codec == "jpeg":
        asked["quality"] = quality or "100"
    elif codec == "j2k":
        asked |= {name: value for name, value in (("ratio", rate), ("psnr", quality)) if value}
    elif codec == "jpegls":
        asked["near"] = near or "0"
    return asked


_GROUPS = (
    Group("Parameters", (
        done("-i --input", "SRC; the same as the first name without an option", values="FILE", source="{}"),
        done("-o --output", "DST; the same as the last name without an option", values="FILE", destination="{}"),
    )),
    Group("Options", (
        done("-X --explicit", encoding="explicit"),
        done("-M --implicit", encoding="implicit"),
        ignored("-U --use-dict", "public attributes get the VR of the dictionary always"),
        refused("--with-private-dict", "leave it out: private attributes keep their VR, or have UN"),
        ignored("-C --check-meta", "the file meta information is checked, and written anew, always"),
        refused("--root-uid", "leave it out: a new UID is 2.25 and a number derived from the old one", values="UID"),
        done("--remove-gl", "retired group lengths are left out whenever a file is written anew, which this has it be",
             rewrite="yes"),
        done("--remove-private-tags", "As `--remove private`: inside sequences too", private="yes"),
        done("--remove-retired", "As `--remove retired`: inside sequences too; what says how pixels are stored stays",
             retired="yes"),
    )),
    Group("Image only options", (
        done("-l --apply-lut", "what is not PALETTE COLOR stays, where gdcmconv fails; a derived image, which has a "
             "new SOP Instance UID", **{"apply-palette": "yes"}),
        refused("-8 --apply-lut8", _PALETTE),
        refused("--decompress-lut", "leave it out: a segmented palette is made linear only to be applied, by -l"),
        done("-P --photometric-interpretation", "where that is exact; where colours are rounded, only with -Y; a "
             "derived image has a new SOP Instance UID", values="PI", photometric="{}"),
        done("-w --raw", raw="yes"),
        done("-d --deflated", encoding="deflated"),
        done("-J --jpeg", codec="jpeg"),
        done("-K --j2k", codec="j2k"),
        done("-L --jpegls", codec="jpegls"),
        done("-R --rle", codec="rle"),
        done("-F --force", "only with a target that compresses, as in gdcmconv", force="yes"),
        done("--generate-icon", "of at most 128x128 pixels; colours have a palette; gdcmconv makes one with -w or what "
             "compresses alone", icon="generate"),
        refused("--icon-minmax", _ICON, values="MIN,MAX"),
        refused("--icon-auto-minmax", _ICON),
        ignored("--compress-icon", "icons follow the transfer syntax of the file, as the standard wants, always"),
        done("--planar-configuration", "only for targets that do not compress; gdcmconv does it with -w "
             "alone", values="0|1", planar="{}"),
        done("-Y --lossy", "consent to loss; ignored by -w, -X, -M and -d, as gdcmconv does, but for colours that -P "
             "rounds", lossy="yes"),
        done("-S --split", "also of what is compressed by the same line, which gdcmconv does not split; refused where "
             "a frame must be one fragment", values="SIZE", **{"fragment-size": "{}"}),
    )),
    Group("General options", (
        done("-V --verbose", **LOUD),
        ignored("-W --warning", "warnings are printed always"),
        ignored("-D --debug", "there is no such output"),
        ignored("-E --error", "errors are printed always"),
        done("-h --help", "this table", **HELP),
        done("-v --version", "the version of dcmtx", **VERSION),
        done("--quiet", **QUIET),
    )),
    Group("JPEG, JPEG-LS and JPEG 2000 options", (
        done("-q --quality", f"JPEG: quality, 100 by default; JPEG 2000: the PSNR in dB; {_PLAIN}",
             values="N", quality="{}"),
        done("-e --allowed-error --lossy-error", f"JPEG-LS: as --near, 0 by default; {_PLAIN}",
             values="N", near="{}"),
        done("-r --rate", f"JPEG 2000: as --ratio; {_PLAIN}", values="RATIO", rate="{}"),
        refused("-t --tile", "leave it out: JPEG 2000 has one tile; HTJ2K has `dcmtx convert --htj2k --tile N`",
                values="X,Y"),
        done("-n --number-resolution", "only for JPEG 2000", values="N", resolutions="{}"),
        ignored("--irreversible", "lossy JPEG 2000 is irreversible always, lossless never, as in gdcmconv"),
    )),
    Group("Special options", (
        done("-I --ignore-errors", "damage behind an image that is whole is passed over; frames that are damaged are "
             "refused still, where gdcmconv makes up the rest", **{"ignore-errors": "yes"}),
    )),
)  # fmt: skip

PEERS = (
    Peer(
        "gdcmconv",
        "GDCM's converter, read from version 3.0 and its help",
        "[OPTION]... SRC DST",
        grammar=Grammar.GETOPT,
        groups=_GROUPS,
        finish=_finish,
        once=frozenset(["codec", "encoding"]),
        remarks=(
            "Without a target SRC is copied, as it is.",
            "-J -Y on 16 bits: gdcmconv writes JPEG of 16 bits as Extended, which has 12 at most. dcmtx refuses that.",
            "-J -Y on RGB: gdcmconv writes YCbCr and calls it RGB. dcmtx writes YBR_FULL_422 and calls it that.",
            "-K -Y without -r and -q, and -L -Y without -e, lose nothing: the UID is kept; gdcmconv makes a new one.",
            "What lossy JPEG has in YCbCr becomes RGB when it is decoded; gdcmconv leaves it in YBR_FULL.",
            "-l and -P: gdcmconv leaves what compresses beside them undone; dcmtx does both.",
            "GDCM_ROOT_UID is not read. A file that gdcmconv cannot read or write may be converted.",
        ),
    ),
)
