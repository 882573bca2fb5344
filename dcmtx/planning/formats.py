"""The formats of the encoder's input and of the written file: bits, colour, words, and sizes."""

from __future__ import annotations

from dcmtx.dataset.element import PIXEL_DATA
from dcmtx.dataset.header import Header
from dcmtx.errors import RefusedError
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.encapsulation import choose_table
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters, OffsetTable, OneBit, Policy, UnusedBits, WordOrder
from dcmtx.rules import objects, photometric
from dcmtx.syntax import JPEG_BASELINE, ROOT, Fragments, Kind, Syntax

LARGEST_NATIVE = 0xFFFFFFFE

_JPEG_EXTENDED = f"{ROOT}.4.51"
_HTJ2K_RPCL = f"{ROOT}.4.202"
# Upper bound for the overhead of one tile of one component in a codestream.
_TILE_BYTES = 160
# PS3.5 10.18: the lowest resolution of .202 may have at most this many rows and columns.
_LOWEST_RESOLUTION = 64
_JPEG_XL = frozenset([f"{ROOT}.4.110", f"{ROOT}.4.112"])

# --- words of native pixels --------------------------------------------------------------------------------------


def is_ambiguous(header: Header, syntax: Syntax, allocated: int) -> bool:
    """Tell whether the word size of native big endian pixels cannot be known.

    OW means 16-bit words whatever Bits Allocated is (PS3.5 7.3), but some writers reverse whole pixels. UN does not
    tell the word size.
    """
    pixel = header.pixel
    if pixel is None or not header.encoding.big_endian or pixel.vr == b"OB" or syntax.encapsulated:
        return False
    return allocated > (16 if pixel.vr == b"OW" else 8)


def word_bytes(header: Header, syntax: Syntax, allocated: int, asked: WordOrder) -> int | None:
    """Return the bytes per word of a big endian source as the user set it; None where the VR decides.

    Raises RefusedError, E_AMBIGUOUS, where neither decides.
    """
    if not is_ambiguous(header, syntax, allocated):
        return None
    # 16-bit words may span pixels. Wider words must divide a pixel evenly.
    fitting = [order for order in WordOrder if order.bytes == 2 or (order.bytes and allocated % (8 * order.bytes) == 0)]
    if asked in fitting:
        return asked.bytes
    raise RefusedError(
        f"Bits Allocated is {allocated} in big endian, where some writers reverse 16-bit words (PS3.5 7.3) and "
        f"some whole pixels",
        advice=f"say which by --word-order {' or '.join(order.value for order in fitting)}",
        code="E_AMBIGUOUS",
        tag=PIXEL_DATA,
    )


def pixel_vr(target: Syntax, fmt: PixelFormat) -> bytes:
    """Return the VR of Pixel Data (PS3.5 8.2, A.1, A.2, A.4)."""
    if target.encapsulated:
        return b"OB"
    return b"OW" if target.encoding.implicit or fmt.allocated > 8 else b"OB"


def wide_note(target: Syntax, allocated: int, vr: bytes) -> tuple[Finding, ...]:
    """Return a note where readers may interpret the written big endian words differently."""
    if not target.encoding.big_endian or allocated <= 16 or vr != b"OW":
        return ()
    return (
        Finding(
            "N_WIDE_WORDS",
            f"Bits Allocated is {allocated} in big endian, where readers differ; written as 16-bit words (PS3.5 7.3)",
            Severity.WARNING,
            tag=0x00280100,
        ),
    )


# --- the encoder's input -----------------------------------------------------------------------------------------


def settle_bits(
    target: Syntax, decoded_format: PixelFormat, policy: UnusedBits
) -> tuple[PixelFormat, UnusedBits | None]:
    """Return the encoder's input format, and what to do with content outside Bits Stored (PS3.5 8.1.1).

    Native cells, deflated or not, hold whole words whatever High Bit is. RLE does too, once High Bit is Bits
    Stored - 1. Other codecs store only Bits Stored bits: `keep` raises Bits Stored to the whole word.
    """
    keep = policy is UnusedBits.KEEP
    if target.family in ("native", "deflate"):
        # NumPy has no 24-bit or 40-bit integers.
        return decoded_format.replace(
            allocated={24: 32, 40: 64}.get(decoded_format.allocated, decoded_format.allocated)
        ), None
    if target.family == "rle" and (keep or decoded_format.high_bit == decoded_format.stored - 1):
        return decoded_format, None
    if keep and decoded_format.high_bit != decoded_format.stored - 1:
        raise RefusedError(
            f"High Bit is {decoded_format.high_bit} and Bits Stored {decoded_format.stored}, so whole words "
            "are not the values (PS3.5 8.1.1), and --unused-bits keep would change them",
            advice="use --unused-bits clear, or --to explicit",
            code="E_UNUSED_BITS",
        )
    if keep and decoded_format.allocated > 1:
        return decoded_format.replace(
            stored=decoded_format.allocated, high_bit=decoded_format.allocated - 1
        ), UnusedBits.KEEP
    encoder_format = _fit_jpeg(target, decoded_format.replace(high_bit=decoded_format.stored - 1), policy)
    return encoder_format, policy


def _fit_jpeg(target: Syntax, fmt: PixelFormat, policy: UnusedBits) -> PixelFormat:
    """Return the format with Bits Stored 8 or 12, as JPEG DCT requires; values are kept (PS3.5 8.2.1)."""
    if fmt.samples > 1 or fmt.signed:
        return fmt
    if target.uid == _JPEG_EXTENDED:
        if fmt.allocated == 16 and 9 <= fmt.stored <= 11:
            return fmt.replace(stored=12, high_bit=11)
        if fmt.allocated == 8:
            return fmt.replace(stored=8, high_bit=7)
    narrow = fmt.allocated == 16 and fmt.stored <= 8 and policy is UnusedBits.CLEAR
    if target is JPEG_BASELINE and narrow:
        return fmt.replace(allocated=8, stored=8, high_bit=7)
    return fmt


def settle_colour(target: Syntax, encoder_format: PixelFormat, *, irreversible: bool) -> PixelFormat:
    """Return the format with the colour that the encoder needs: lossy JPEG XL does not take YBR_FULL."""
    if target.uid in _JPEG_XL and encoder_format.photometric == "YBR_FULL" and irreversible:
        return encoder_format.replace(photometric="RGB")
    return encoder_format


# --- limits ------------------------------------------------------------------------------------------------------


def check_resolutions(target: Syntax, fmt: PixelFormat, quality: EncodingParameters) -> None:
    """Raise RefusedError for a number of resolutions that the syntax or the encoder does not support."""
    asked = quality.resolutions
    if asked is None or target.family != "htj2k":
        return
    if asked == 1:
        raise RefusedError("the encoder of HTJ2K makes 2 resolutions or more", code="E_LIMIT")
    if target.uid == _HTJ2K_RPCL and max(fmt.rows, fmt.columns) > _LOWEST_RESOLUTION << (asked - 1):
        raise RefusedError(
            f"{asked} resolutions leave more than {_LOWEST_RESOLUTION}x{_LOWEST_RESOLUTION} pixels in the lowest, "
            f"which {target.label} forbids (PS3.5 10.18)",
            advice="ask for more, or for none",
            code="E_RPCL",
        )


def check_progression(target: Syntax, quality: EncodingParameters) -> None:
    """Raise RefusedError for a progression that the syntax forbids."""
    asked = quality.progression
    if asked not in (None, "RPCL") and target.uid == _HTJ2K_RPCL:
        raise RefusedError(
            f"{target.label} is RPCL always (PS3.5 10.18), not {asked}",
            advice="use --to htj2k-lossless",
            code="E_RPCL",
        )


def check_result(
    header: Header, target: Syntax, policy: Policy, *, declared: PixelFormat, target_format: PixelFormat
) -> None:
    """Raise RefusedError if the target cannot hold these pixels, or the IOD does not allow them."""
    if target.uid in _JPEG_XL:
        photometric.check_proven(target, target_format)
    photometric.check_legal(target, target_format, one_bit=policy.one_bit is OneBit.ALLOW)
    if target.kind is Kind.NATIVE and target_format.native_bytes > LARGEST_NATIVE:
        raise RefusedError(
            f"its pixels take {target_format.native_bytes} bytes, native Pixel Data at most {LARGEST_NATIVE} "
            "(PS3.5 8.1.1)",
            advice="keep it compressed, or use --to encapsulated or deflated-frames",
            code="E_SIZE",
        )
    objects.check_definition(header, declared, target_format)


def settle_fragments(target: Syntax, policy: Policy, fmt: PixelFormat, size: int) -> tuple[OffsetTable, int | None]:
    """Return the offset table to write, and the most bytes of a fragment; `size` is an upper bound for all frames.

    Raises RefusedError, E_FRAGMENTS, where the syntax or the table allows only one fragment per frame (PS3.5 A.4).
    """
    if policy.fragment_size is not None and target.fragments is not Fragments.MANY:
        raise RefusedError(
            f"{target.name} has one fragment per frame (PS3.5 {target.section}), so --fragment-size cannot split them",
            advice="leave it out",
            code="E_FRAGMENTS",
        )
    return choose_table(policy.offset_table, fmt.frames, size, policy.fragment_size), policy.fragment_size


def worst_case(fmt: PixelFormat, tile: int | None = None) -> int:
    """Return an upper bound in bytes for these frames encoded, with item headers; `tile` is the side of a tile.

    Every codec expands noise, but by less than half. 1-bit pixels are coded as bytes.
    """
    # JPEG codes whole blocks, 16x16 where chroma is subsampled. RLE doubles images of one column.
    pixels = (fmt.rows + 15 & ~15) * (fmt.columns + 15 & ~15)
    tiles = 0 if tile is None else -(-fmt.rows // tile) * -(-fmt.columns // tile) * fmt.samples
    return int(fmt.frames * (pixels * fmt.samples * max(fmt.allocated, 8) / 8 * 1.5 + tiles * _TILE_BYTES + 4096))
