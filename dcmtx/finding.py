"""Findings: oddities of a file, or facts about its conversion, that are no reason to fail.

The code of a finding is stable and meant for programs. Its text is for people and may change.
"""

from __future__ import annotations

from enum import Enum
from typing import Self

from dcmtx.errors import DcmtxError, ExitStatus
from dcmtx.record import Record


class Severity(Enum):
    """How much a finding matters.

    An error may have a reader show other pixels, lose some, or not read the file; a warning is against the standard,
    and readers cope; a note is legal, and worth knowing.
    """

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


class Finding(Record):
    """One finding: `text` is one line, without the name of the file.

    `tag` is the attribute it is about, `frame` the frame (0-based), if any. `seen` is the text for those who only look
    at the file, where `text` tells what a conversion does about it.
    """

    code: str
    text: str
    severity: Severity = Severity.NOTE
    tag: int | None = None
    frame: int | None = None
    seen: str = ""

    @classmethod
    def of_error(cls, error: DcmtxError) -> Self:
        """Return the finding that an error of a file is; its code is that of the error."""
        # What is not supported, or refused, is nobody's fault; a codec fails on damage.
        bad = error.status in (ExitStatus.INPUT, ExitStatus.CODEC)
        severity = Severity.ERROR if bad else Severity.WARNING
        return cls(error.code, error.what, severity, tag=error.tag, frame=error.frame)

    def __str__(self) -> str:
        """Return the text."""
        return self.text


# What each code means.
CODES: dict[str, str] = {
    # The file as read.
    "N_BASIC_TABLE": "the Basic Offset Table does not fit the fragments; frames were found without it",
    "N_DAMAGED": "damage behind an image that is whole was passed over, as asked for",
    "N_DELIMITER": "Pixel Data has no Sequence Delimitation Item at the end of the file",
    "N_ENCODING": "the data set is encoded otherwise than the transfer syntax says",
    "N_EXTENDED_TABLE": "the Extended Offset Table does not fit the fragments; frames were found without it",
    "N_FRAME_COUNT": "Number of Frames is no number, and can mean 1 only; corrected",
    "N_FRAGMENTS": "frames are split over fragments where the transfer syntax forbids that; joined",
    "N_GROUP_LENGTH": "File Meta Information Group Length is wrong",
    "N_MISPLACED": "elements of a group that has no place in a data set were left out",
    "N_NO_PIXEL_DATA": "an image without Pixel Data",
    "N_NO_PREAMBLE": "the file begins with its File Meta Information",
    "N_NO_SYNTAX": "the file names no transfer syntax; its data set shows one",
    "N_ONE_LIBRARY": "there is no second library to cross-check with",
    "N_PADDING": "zeros behind the last element were dropped",
    "N_PIXEL_PADDING": "zeros behind the last frame were dropped",
    "N_PLANAR": "Planar Configuration is absent, or 1 where pixels cannot be by plane",
    "N_SAMPLES": "Samples per Pixel is absent, and can be 1 only; corrected",
    "N_UNKNOWN_VR": "elements have a VR that the standard does not know",
    "N_ZLIB": "the data set is wrapped by zlib, which the standard does not allow",
    # The file as it is looked at.
    "N_DUPLICATE": "an element stands twice in the data set",
    "N_GROUP_LENGTHS": "the data set has group lengths, which are retired",
    "N_META_MISSING": "the File Meta Information has not all that it must have",
    "N_META_UID": "a UID of the File Meta Information is not that of the data set",
    "N_ODD_LENGTH": "an element has an odd length",
    "N_ORDER": "elements are not in the order of their tags",
    "N_VALUE": "an attribute has a value that it may not have",
    # Its pixels, as they are wrapped.
    "N_EMPTY_ITEM": "a fragment has no bytes",
    "N_JUNK": "bytes that are no padding stand behind the end of a codestream",
    "N_ODD_ITEM": "a fragment has an odd length",
    "N_PIXEL_VR": "Pixel Data has a VR that it may not have",
    "N_STALE_TABLE": "an offset table stands beside native Pixel Data",
    "N_TWO_TABLES": "there are entries in the Basic Offset Table beside the Extended one",
    # Its pixels.
    "N_BOXED": "the codestream is in a file format of its own",
    "N_FRAMES_DIFFER": "the codestreams of the frames are not alike",
    "N_HIGH_BIT": "High Bit is not Bits Stored - 1",
    "N_HISTORY": "what is recorded of loss is not complete",
    "N_ILLEGAL": "the transfer syntax does not allow the attributes of the image",
    "N_IOD": "the definition of the object does not allow an attribute of the image",
    "N_NOT_LOSSLESS": "the codestream is lossy, and the transfer syntax lossless",
    "N_ODD_COLUMNS": "pixels that share chroma in pairs have an odd number of columns",
    "N_OVERLAY": "an overlay is in bits of the pixels, which is retired",
    "N_PRECISION": "the codestream has not Bits Stored bits",
    "N_PROCESS": "the codestream is of another process or predictor than the transfer syntax says",
    "N_RPCL": "the codestream has not the options that the transfer syntax promises",
    "N_SAMPLING": "the codestream shares chroma otherwise than Photometric Interpretation says",
    "N_SIGN": "the codestream has another sign than Pixel Representation says",
    "N_JFIF": "the codestream is JFIF, and Photometric Interpretation RGB, which JFIF has not; taken as RGB",
    "N_NOT_UNDERSTOOD": "the attributes of the image make no sense; native pixels stay what they are",
    "N_PASSED_OVER": "nothing is written, because an option or a rule of the site passes over such files",
    "N_PHOTOMETRIC": "Photometric Interpretation contradicts the codestream, which is believed",
    "N_UNDECLARED_LOSS": "the codestream is lossy, and the data set did not say so; it does now",
    # The conversion.
    "N_CHARSET": "elements whose VR is unknown were not converted to UTF-8",
    "N_CROP": "what is not true of a part of an image was left out",
    "N_DEVICE": "the device that was asked for does not do all of it",
    "N_FALLBACK": "a target refused the file; it has another transfer syntax",
    "N_ICON": "no icon was made, of pixels that are not understood",
    "N_NO_PIXELS": "without pixels, it cannot have the target's transfer syntax",
    "N_NOT_CROPPED": "the part that was named is the whole image",
    "N_PADDING_VALUE": "pixels of Pixel Padding Value may have another value now",
    "N_PALETTE": "the entries of a palette have 8 bits, which are stored in 16",
    "N_REFERENCES": "references to other files of the batch follow their new UIDs",
    "N_REMOVED": "private or retired elements were left out, as asked for",
    "N_RETIRED": "the transfer syntax is retired",
    "N_SIGNATURES": "digital signatures that would not be valid any more were removed",
    "N_DONE_BEFORE": "the file was passed over, because its destination is what would be made",
    "N_SMALLEST": "which codecs were tried, and what each made of the file",
    "N_SKIPPED": "the file was passed over, or files of a directory were",
    "N_TIFF": "the preamble made it a TIFF file too, which it is no longer",
    "N_UID_KEPT": "SOP Instance UID is kept, though the pixels differ",
    "N_UNUSED_BITS": "bits outside Bits Stored were cleared",
    "N_WIDE_WORDS": "more than 16 bits in big endian, which readers take differently",
    # Series.
    "N_ANATOMY": "the part of the body, or its side, is not known of all: there is no Frame Anatomy",
    "N_BURNED_IN": "Burned In Annotation, which is not NO, is an unassigned attribute",
    "N_EVIDENCE": "the series of instances that are referred to is not known",
    "N_GAPS": "planes are not evenly spaced, so no volume is told of",
    "N_NOT_ORIGINAL": "a frame is not what it was made of any more, and has new UIDs",
    "N_OVERLAYS_KEPT": "overlays, curves or annotations are unassigned attributes",
    "N_SHEARED": "the gantry was tilted, so planes are no volume",
    "N_TIMES": "places have several times, which readers mix up",
    "N_TWICE": "files that are there twice were taken once",
    # Loss.
    "N_LARGER": "the source is kept, because the converted file would not be smaller",
    "N_LOSSLESS": "coded without loss, though loss was allowed, and no loss is told of",
    "N_LOSSLESS_FRAMES": "some frames are coded without loss",
    "N_LOSSY": "how much was lost",
    "N_MAY_BE_LOSSLESS": "it may turn out to be coded without loss",
    "N_PSNR": "the PSNR is below what was asked for",
    "N_PSNR_LOW": "the PSNR is so low that loss may be seen",
    "N_RATIO": "the compression ratio is not what was asked for",
    # The destination.
    "N_NOT_SYNCED": "the destination is in place, and may not outlast a crash of the machine",
    "N_RIGHTS": "owner, rights or attributes of the file that was replaced could not be kept",
}  # fmt: skip
