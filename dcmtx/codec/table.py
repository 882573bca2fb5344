"""The rows: one per backend and direction, preferred first.

The order follows measurements: exactness first, then whether other threads run meanwhile, then speed.
"""

from __future__ import annotations

from dcmtx.codec.registry import Direction, Limits, Registry, Row
from dcmtx.syntax import ROOT


def _uids(*last: str) -> tuple[str, ...]:
    return tuple(f"{ROOT}.{end}" if end else ROOT for end in last)


_NATIVE = _uids("", "1", "1.99", "2")
_JPEG_DCT = _uids("4.50", "4.51", "4.53", "4.55")
_JPEG_LOSSLESS = _uids("4.57", "4.70")
_JPEG_LS = _uids("4.80", "4.81")
_J2K = _uids("4.90", "4.91")
_HTJ2K = _uids("4.201", "4.202", "4.203")
_RLE = _uids("5")

_ANY = Limits(stored=(1, 64), allocated=(1, 64))
_TO_RGB = frozenset([("YBR_FULL_422", "RGB"), ("YBR_FULL", "RGB"), ("YBR_FULL_422", "YBR_FULL")])
_FROM_RCT = frozenset([("YBR_RCT", "RGB"), ("YBR_ICT", "RGB")])
_TO_RCT = frozenset([("RGB", "YBR_RCT")])

DECODERS = Registry(
    Direction.DECODE,
    [
        Row(_NATIVE, "dcmtx", "dcmtx.codec.native:decode", "dcmtx", _ANY),
        Row(_JPEG_DCT, "imagecodecs", "dcmtx.codec.jpeg:decode_imagecodecs", "imagecodecs", colours=_TO_RGB),
        Row(_JPEG_DCT, "pylibjpeg-libjpeg", "dcmtx.codec.jpeg:decode_libjpeg", "pylibjpeg-libjpeg", colours=_TO_RGB,
            frees_lock=False),
        Row(_JPEG_LOSSLESS, "imagecodecs", "dcmtx.codec.jpeg:decode_imagecodecs", "imagecodecs"),
        Row(_JPEG_LOSSLESS, "pylibjpeg-libjpeg", "dcmtx.codec.jpeg:decode_libjpeg", "pylibjpeg-libjpeg",
            frees_lock=False),
        Row(_JPEG_LS, "imagecodecs", "dcmtx.codec.jpegls:decode_imagecodecs", "imagecodecs"),
        Row(_JPEG_LS, "pylibjpeg-libjpeg", "dcmtx.codec.jpeg:decode_libjpeg", "pylibjpeg-libjpeg", frees_lock=False),
        Row(_JPEG_LS, "pyjpegls", "dcmtx.codec.jpegls:decode_pyjpegls", "pyjpegls", frees_lock=False),
        Row(_J2K, "imagecodecs", "dcmtx.codec.jpeg2k:decode_imagecodecs", "imagecodecs",
            Limits(stored=(1, 24), allocated=(1, 64)), _FROM_RCT),
        Row(_J2K, "pylibjpeg-openjpeg", "dcmtx.codec.jpeg2k:decode_openjpeg", "pylibjpeg-openjpeg",
            Limits(stored=(1, 24), allocated=(1, 64)), _FROM_RCT, frees_lock=False),
        Row(_HTJ2K, "imagecodecs", "dcmtx.codec.jpeg2k:decode_imagecodecs", "imagecodecs",
            Limits(stored=(1, 24), allocated=(1, 64)), _FROM_RCT),
        Row(_HTJ2K, "pylibjpeg-openjpeg", "dcmtx.codec.jpeg2k:decode_openjpeg", "pylibjpeg-openjpeg",
            Limits(stored=(1, 24), allocated=(1, 64)), _FROM_RCT, frees_lock=False),
        Row(_RLE, "imagecodecs", "dcmtx.codec.rle:decode_imagecodecs", "imagecodecs",
            Limits(stored=(1, 64), allocated=(1, 64))),
        Row(_RLE, "pylibjpeg-rle", "dcmtx.codec.rle:decode_pylibjpeg", "pylibjpeg-rle",
            Limits(stored=(1, 64), allocated=(1, 64)), frees_lock=False),
    ],
)  # fmt: skip

ENCODERS = Registry(
    Direction.ENCODE,
    [
        Row(_NATIVE, "dcmtx", "dcmtx.codec.native:encode", "dcmtx", _ANY),
        Row(_JPEG_LOSSLESS, "imagecodecs", "dcmtx.codec.jpeg:encode_lossless", "imagecodecs",
            options=frozenset(["predictor"])),
        Row(_JPEG_LS, "imagecodecs", "dcmtx.codec.jpegls:encode_imagecodecs", "imagecodecs",
            Limits(only_stored=(8, 16))),
        Row(_JPEG_LS, "pyjpegls", "dcmtx.codec.jpegls:encode_pyjpegls", "pyjpegls", Limits(stored=(2, 16))),
        Row(_J2K, "imagecodecs", "dcmtx.codec.jpeg2k:encode_imagecodecs", "imagecodecs",
            Limits(stored=(1, 20), allocated=(1, 40)), _TO_RCT, options=frozenset(["resolutions"])),
        Row(_J2K, "pylibjpeg-openjpeg", "dcmtx.codec.jpeg2k:encode_openjpeg", "pylibjpeg-openjpeg",
            Limits(stored=(2, 20), allocated=(1, 40), smallest_side=32), _TO_RCT, frees_lock=False),
        Row(_HTJ2K, "imagecodecs", "dcmtx.codec.htj2k:encode_imagecodecs", "imagecodecs",
            Limits(allocated=(8, 40)), _TO_RCT, options=frozenset(["resolutions"])),
        Row(_RLE, "imagecodecs", "dcmtx.codec.rle:encode_imagecodecs", "imagecodecs"),
        Row(_RLE, "pylibjpeg-rle", "dcmtx.codec.rle:encode_pylibjpeg", "pylibjpeg-rle", frees_lock=False),
    ],
)  # fmt: skip
