"""The rows: one per backend and direction, preferred first.

The order follows measurements: exactness first, then whether other threads can run meanwhile, then speed.
"""

from __future__ import annotations

from typing import Any

from dcmtx.codec.registry import Direction, Registry
from dcmtx.codec.row import Limits, Needs, Row, Runs
from dcmtx.syntax import ROOT


def _add_rows(registry: Registry) -> list[str]:
    from dcmtx.codec.plugins import add_rows

    return add_rows(registry)


def _uids(*last: str) -> tuple[str, ...]:
    return tuple(f"{ROOT}.{end}" if end else ROOT for end in last)


_NATIVE = _uids("", "1", "1.99", "2")
_ENCAPSULATED = _uids("1.98")
_DEFLATED_FRAMES = _uids("8.1")
_JPEG_BASELINE = _uids("4.50")
_JPEG_EXTENDED = _uids("4.51")
_JPEG_DCT = _uids("4.50", "4.51", "4.53", "4.55")
_JPEG_LOSSLESS = _uids("4.57", "4.70")
_JPEG_LS = _uids("4.80", "4.81")
_JPEG_LS_NEAR = _uids("4.81")
_J2K = _uids("4.90", "4.91")
_J2K_LOSSY = _uids("4.91")
_HTJ2K = _uids("4.201", "4.202", "4.203")
_HTJ2K_FREE = _uids("4.201", "4.203")
_HTJ2K_RPCL = _uids("4.202")
_HTJ2K_LOSSY = _uids("4.203")
_JPEG_XL = _uids("4.110", "4.112")
_JPEG_XL_LOSSY = _uids("4.112")
_JPEG_XL_JPEG = _uids("4.111")
_RLE = _uids("5")

_IMAGECODECS = Needs("imagecodecs", "imagecodecs")
# Since this version imagecodecs writes JPEG-LS and HTJ2K of any precision, and HTJ2K in any progression order. It needs
# Python 3.12 or newer.
_PRECISE = _IMAGECODECS.replace(since="2026.10.10")
_IMPRECISE = _IMAGECODECS.replace(before=_PRECISE.since)
_ISAL = Needs("isal", "isal")
# It needs Python 3.12 or newer.
_OJPH = Needs("ojph", "ojph", since="0.10.2", optional=True)
_LIBJPEG = Needs("pylibjpeg-libjpeg", "libjpeg")
_OPENJPEG = Needs("pylibjpeg-openjpeg", "openjpeg")
_PYJPEGLS = Needs("pyjpegls", "_CharLS")
_RLE_OF_PYLIBJPEG = Needs("pylibjpeg-rle", "rle")
_NVIMGCODEC = Needs(
    "nvidia-nvimgcodec-cu13", "nvidia.nvimgcodec", extra="gpu", apart=("nvidia-nvimgcodec-cu12",)
)  # fmt: skip

_ANY = Limits(stored=(1, 64), allocated=(1, 64))
_BITS_TOO = Limits(allocated=(1, 16))


def _on_gpu(syntaxes: tuple[str, ...], call: str, *, limits: Limits, **more: Any) -> Row:
    """Return a row of nvImageCodec. It has none for JPEG: of JPEG lossless it decodes wrong pixels."""
    return Row(
        syntaxes, "nvimgcodec", f"dcmtx.codec.nvimgcodec:{call}", needs=_NVIMGCODEC, limits=limits, runs=Runs.DEVICE,
        named_only=True, core="nvJPEG2000", judge="" if call.startswith("Decoder") else "imagecodecs", **more,
    )  # fmt: skip


# The device process makes larger batches of several of these; so many of them are under way that all cores verify.
_BATCHES: dict[str, Any] = {"batch": 64, "batch_bytes": 4 << 20}
_J2K_ON_GPU = "dcmtx.codec.layout:NVIMGCODEC_J2K"
_HTJ2K_ON_GPU = "dcmtx.codec.layout:NVIMGCODEC_HTJ2K"
_GPU_DECODES = Limits(allocated=(1, 64), signed=(9, 16))
_GPU_ENCODES = Limits(allocated=(1, 40), smallest_side=32)
# Frames of one bit would have to be packed: the rows of imagecodecs take none in HTJ2K either.
_GPU_ENCODES_BYTES = _GPU_ENCODES.replace(allocated=(8, 40))
_GPU_LOSES = _GPU_ENCODES.replace(stored=(8, 16), signed=(9, 16), allocated=(8, 40))

DECODERS = Registry(
    Direction.DECODE,
    [
        Row(_NATIVE, "dcmtx", "dcmtx.codec.native:decode", limits=_ANY),
        Row(_ENCAPSULATED, "dcmtx", "dcmtx.codec.native:decode", limits=_ANY),
        Row(_DEFLATED_FRAMES, "isal", "dcmtx.codec.deflate:decode_isal", needs=_ISAL, limits=_ANY, core="ISA-L"),
        Row(_DEFLATED_FRAMES, "zlib", "dcmtx.codec.deflate:decode_zlib", limits=_ANY),
        Row(_JPEG_DCT, "imagecodecs", "dcmtx.codec.jpeg:decode_imagecodecs", needs=_IMAGECODECS, core="libjpeg-turbo"),
        Row(
            _JPEG_DCT,
            "pylibjpeg-libjpeg",
            "dcmtx.codec.jpeg:decode_libjpeg",
            needs=_LIBJPEG,
            runs=Runs.PROCESSES,
            core="libjpeg",
        ),
        Row(
            _JPEG_LOSSLESS,
            "imagecodecs",
            "dcmtx.codec.jpeg:decode_imagecodecs",
            needs=_IMAGECODECS,
            core="libjpeg-turbo",
        ),
        Row(
            _JPEG_LOSSLESS,
            "pylibjpeg-libjpeg",
            "dcmtx.codec.jpeg:decode_libjpeg",
            needs=_LIBJPEG,
            runs=Runs.PROCESSES,
            core="libjpeg",
        ),
        Row(_JPEG_LS, "imagecodecs", "dcmtx.codec.jpegls:decode_imagecodecs", needs=_IMAGECODECS, core="CharLS"),
        Row(
            _JPEG_LS,
            "pylibjpeg-libjpeg",
            "dcmtx.codec.jpeg:decode_libjpeg",
            needs=_LIBJPEG,
            runs=Runs.PROCESSES,
            core="libjpeg",
        ),
        Row(
            _JPEG_LS,
            "pyjpegls",
            "dcmtx.codec.jpegls:decode_pyjpegls",
            needs=_PYJPEGLS,
            runs=Runs.PROCESSES,
            core="CharLS",
        ),
        Row(
            _J2K,
            "imagecodecs",
            "dcmtx.codec.jpeg2k:decode_imagecodecs",
            needs=_IMAGECODECS,
            limits=Limits(stored=(1, 24), allocated=(1, 64)),
            core="OpenJPEG",
            spreads=True,
        ),
        Row(
            _J2K,
            "pylibjpeg-openjpeg",
            "dcmtx.codec.jpeg2k:decode_openjpeg",
            needs=_OPENJPEG,
            limits=Limits(stored=(1, 24), allocated=(1, 64)),
            runs=Runs.PROCESSES,
            core="OpenJPEG",
        ),
        Row(
            _HTJ2K,
            "imagecodecs",
            "dcmtx.codec.jpeg2k:decode_imagecodecs",
            needs=_IMAGECODECS,
            limits=Limits(stored=(1, 24), allocated=(1, 64)),
            core="OpenJPEG",
            spreads=True,
        ),
        Row(
            _HTJ2K,
            "pylibjpeg-openjpeg",
            "dcmtx.codec.jpeg2k:decode_openjpeg",
            needs=_OPENJPEG,
            limits=Limits(stored=(1, 24), allocated=(1, 64)),
            runs=Runs.PROCESSES,
            core="OpenJPEG",
        ),
        # Damaged streams of others are no matter for it, though it is the fastest: OpenJPEG stood them best.
        Row(
            _HTJ2K, "ojph", "dcmtx.codec.openjph:decode", needs=_OJPH, limits=Limits(allocated=(1, 64)), core="OpenJPH"
        ),
        Row(_JPEG_XL, "imagecodecs", "dcmtx.codec.jpegxl:decode", needs=_IMAGECODECS, core="libjxl"),
        Row(_JPEG_XL_JPEG, "imagecodecs", "dcmtx.codec.jpegxl:decode_recompressed", needs=_IMAGECODECS, core="libjxl"),
        Row(
            _RLE,
            "imagecodecs",
            "dcmtx.codec.rle:decode_imagecodecs",
            needs=_IMAGECODECS,
            limits=Limits(stored=(1, 64), allocated=(1, 64)),
        ),
        Row(
            _RLE,
            "pylibjpeg-rle",
            "dcmtx.codec.rle:decode_pylibjpeg",
            needs=_RLE_OF_PYLIBJPEG,
            limits=Limits(stored=(1, 64), allocated=(1, 64)),
            runs=Runs.PROCESSES,
        ),
        _on_gpu(_J2K, "DecoderJ2K", limits=_GPU_DECODES, **_BATCHES),
        _on_gpu(_HTJ2K, "DecoderHTJ2K", limits=_GPU_DECODES, **_BATCHES),
    ],
    _add_rows,
)

_LEVELS = frozenset(["resolutions"])
_LEVELS_TILE = frozenset(["resolutions", "tile", "tile_parts"])
_LAYOUT = frozenset(["resolutions", "tile", "progression", "code_block", "tile_parts"])
_GPU_LAYOUT = _LAYOUT - {"tile_parts"}
_RATE = frozenset(["ratio", "psnr"])
# Older releases of OpenJPH write one TLM, and it has room for so many tile-parts (T.800 A.7.1).
_ONE_TLM = Limits(allocated=(8, 40), tile_parts=(65535 - 4) // 6)
# They check what OpenJPH wrote, between the frames that OpenJPEG judges.
_OPENJPH = ("ojph", "imagecodecs-openjph")

# Decoders that only check what was encoded without loss a moment ago: they do not stand damage, or overshoot of loss.
CHECKERS = Registry(
    Direction.DECODE,
    [
        Row(
            _HTJ2K,
            "imagecodecs-openjph",
            "dcmtx.codec.htj2k:check_imagecodecs",
            needs=_IMAGECODECS,
            limits=Limits(allocated=(8, 40)),
            core="OpenJPH",
        ),
    ],
)

ENCODERS = Registry(
    Direction.ENCODE,
    [
        Row(_NATIVE, "dcmtx", "dcmtx.codec.native:encode", limits=_ANY),
        Row(_ENCAPSULATED, "dcmtx", "dcmtx.codec.native:encode_fragment", limits=_ANY),
        Row(
            _DEFLATED_FRAMES,
            "isal",
            "dcmtx.codec.deflate:encode",
            needs=_ISAL,
            limits=_ANY,
            core="ISA-L",
            judge="zlib",
            checkers=("isal",),
        ),
        Row(
            _JPEG_LOSSLESS,
            "imagecodecs",
            "dcmtx.codec.jpeg:encode_lossless",
            needs=_IMAGECODECS,
            options=frozenset(["predictor"]),
            core="libjpeg-turbo",
        ),
        Row(
            _JPEG_BASELINE,
            "imagecodecs",
            "dcmtx.codec.jpeg:encode_lossy",
            needs=_IMAGECODECS,
            limits=Limits(stored=(8, 8), allocated=(8, 8)),
            lossy=True,
            options=frozenset(["quality", "subsampling"]),
            core="libjpeg-turbo",
        ),
        Row(
            _JPEG_EXTENDED,
            "imagecodecs",
            "dcmtx.codec.jpeg:encode_extended",
            needs=_IMAGECODECS,
            limits=Limits(only_stored=(8, 12), samples=(1,)),
            lossy=True,
            options=frozenset(["quality"]),
            core="libjpeg-turbo",
        ),
        Row(
            _JPEG_LS,
            "imagecodecs",
            "dcmtx.codec.jpegls:encode_imagecodecs_precise",
            needs=_PRECISE,
            limits=Limits(stored=(2, 16)),
            core="CharLS",
        ),
        Row(
            _JPEG_LS,
            "imagecodecs",
            "dcmtx.codec.jpegls:encode_imagecodecs",
            needs=_IMPRECISE,
            limits=Limits(only_stored=(8, 16)),
            core="CharLS",
        ),
        Row(
            _JPEG_LS,
            "pyjpegls",
            "dcmtx.codec.jpegls:encode_pyjpegls",
            needs=_PYJPEGLS,
            limits=Limits(stored=(2, 16)),
            core="CharLS",
        ),
        Row(
            _JPEG_LS_NEAR,
            "imagecodecs",
            "dcmtx.codec.jpegls:encode_imagecodecs_precise",
            needs=_PRECISE,
            limits=Limits(stored=(2, 16)),
            lossy=True,
            options=frozenset(["near"]),
            core="CharLS",
        ),
        Row(
            _JPEG_LS_NEAR,
            "imagecodecs",
            "dcmtx.codec.jpegls:encode_imagecodecs",
            needs=_IMPRECISE,
            limits=Limits(only_stored=(8, 16)),
            lossy=True,
            options=frozenset(["near"]),
            core="CharLS",
        ),
        Row(
            _JPEG_LS_NEAR,
            "pyjpegls",
            "dcmtx.codec.jpegls:encode_pyjpegls",
            needs=_PYJPEGLS,
            limits=Limits(stored=(2, 16)),
            lossy=True,
            options=frozenset(["near"]),
            core="CharLS",
        ),
        Row(
            _J2K,
            "imagecodecs",
            "dcmtx.codec.jpeg2k:encode_imagecodecs",
            needs=_IMAGECODECS,
            limits=Limits(stored=(1, 20), allocated=(1, 40)),
            options=_LEVELS,
            core="OpenJPEG",
            spreads=True,
        ),
        Row(
            _J2K,
            "pylibjpeg-openjpeg",
            "dcmtx.codec.jpeg2k:encode_openjpeg",
            needs=_OPENJPEG,
            limits=Limits(stored=(8, 20), allocated=(1, 40), smallest_side=32),
            runs=Runs.PROCESSES,
            core="OpenJPEG",
        ),
        Row(
            _J2K_LOSSY,
            "pylibjpeg-openjpeg",
            "dcmtx.codec.jpeg2k:encode_openjpeg_lossy",
            needs=_OPENJPEG,
            limits=Limits(stored=(2, 20), allocated=(8, 40), smallest_side=32),
            runs=Runs.PROCESSES,
            lossy=True,
            options=frozenset(["ratio"]),
            core="OpenJPEG",
        ),
        Row(
            _J2K_LOSSY,
            "imagecodecs",
            "dcmtx.codec.jpeg2k:encode_imagecodecs_lossy",
            needs=_IMAGECODECS,
            limits=Limits(stored=(2, 20), allocated=(8, 40)),
            lossy=True,
            options=_RATE | _LEVELS,
            core="OpenJPEG",
            spreads=True,
        ),
        Row(
            _HTJ2K_FREE,
            "ojph",
            "dcmtx.codec.openjph:encode",
            needs=_OJPH,
            limits=_ONE_TLM,
            options=_LAYOUT,
            core="OpenJPH",
            checkers=_OPENJPH,
        ),
        Row(
            _HTJ2K_RPCL,
            "ojph",
            "dcmtx.codec.openjph:encode_streamed",
            needs=_OJPH,
            limits=_ONE_TLM,
            options=_LAYOUT,
            core="OpenJPH",
            checkers=_OPENJPH,
        ),
        Row(
            _HTJ2K_FREE,
            "imagecodecs",
            "dcmtx.codec.htj2k:encode_imagecodecs_precise",
            needs=_PRECISE,
            limits=Limits(allocated=(8, 40)),
            options=_LAYOUT,
            core="OpenJPH",
            checkers=_OPENJPH,
        ),
        Row(
            _HTJ2K_RPCL,
            "imagecodecs",
            "dcmtx.codec.htj2k:encode_imagecodecs_streamed",
            needs=_PRECISE,
            limits=Limits(allocated=(8, 40), halved_to=64),
            options=_LAYOUT,
            core="OpenJPH",
            checkers=_OPENJPH,
        ),
        Row(
            _HTJ2K_FREE,
            "imagecodecs",
            "dcmtx.codec.htj2k:encode_imagecodecs",
            needs=_IMPRECISE,
            limits=_ONE_TLM,
            options=_LEVELS_TILE,
            core="OpenJPH",
            checkers=_OPENJPH,
        ),
        Row(
            _HTJ2K_RPCL,
            "imagecodecs",
            "dcmtx.codec.htj2k:encode_imagecodecs_imprecise_streamed",
            needs=_IMPRECISE,
            limits=_ONE_TLM,
            options=_LEVELS_TILE,
            core="OpenJPH",
            checkers=_OPENJPH,
        ),
        Row(
            _HTJ2K_LOSSY,
            "imagecodecs",
            "dcmtx.codec.htj2k:encode_imagecodecs_lossy",
            needs=_PRECISE,
            limits=Limits(stored=(2, 16), allocated=(8, 40)),
            lossy=True,
            options=_RATE | _LAYOUT,
            core="OpenJPH",
        ),
        Row(
            _HTJ2K_LOSSY,
            "imagecodecs",
            "dcmtx.codec.htj2k:encode_imagecodecs_lossy",
            needs=_IMPRECISE,
            limits=_ONE_TLM.replace(stored=(2, 16)),
            lossy=True,
            options=_RATE | _LEVELS_TILE,
            core="OpenJPH",
        ),
        Row(
            _JPEG_XL,
            "imagecodecs",
            "dcmtx.codec.jpegxl:encode_lossless",
            needs=_IMAGECODECS,
            options=frozenset(["effort"]),
            core="libjxl",
        ),
        Row(
            _JPEG_XL_LOSSY,
            "imagecodecs",
            "dcmtx.codec.jpegxl:encode_lossy",
            needs=_IMAGECODECS,
            lossy=True,
            options=frozenset(["quality", "effort"]),
            core="libjxl",
        ),
        Row(
            _JPEG_XL_JPEG,
            "imagecodecs",
            "dcmtx.codec.jpegxl:recompress",
            needs=_IMAGECODECS,
            limits=Limits(stored=(8, 8), allocated=(8, 8)),
            core="libjxl",
        ),
        Row(_RLE, "imagecodecs", "dcmtx.codec.rle:encode_imagecodecs", needs=_IMAGECODECS, limits=_BITS_TOO),
        Row(_RLE, "pylibjpeg-rle", "dcmtx.codec.rle:encode_pylibjpeg", needs=_RLE_OF_PYLIBJPEG, runs=Runs.PROCESSES),
        _on_gpu(_J2K, "EncoderJ2K", limits=_GPU_ENCODES, options=_GPU_LAYOUT, layout=_J2K_ON_GPU, **_BATCHES),
        _on_gpu(
            _HTJ2K_FREE, "EncoderHTJ2K", limits=_GPU_ENCODES_BYTES, options=_LAYOUT, layout=_HTJ2K_ON_GPU, **_BATCHES
        ),
        _on_gpu(
            _HTJ2K_RPCL,
            "EncoderHTJ2K",
            limits=_GPU_ENCODES_BYTES.replace(halved_to=64),
            options=_LAYOUT,
            layout=_HTJ2K_ON_GPU,
            **_BATCHES,
        ),
        # Each frame is searched for by itself.
        _on_gpu(
            _J2K_LOSSY,
            "LossyEncoderJ2K",
            limits=_GPU_LOSES,
            lossy=True,
            options=_RATE | _GPU_LAYOUT,
            layout=_J2K_ON_GPU,
        ),
        _on_gpu(
            _HTJ2K_LOSSY,
            "LossyEncoderHTJ2K",
            limits=_GPU_LOSES,
            lossy=True,
            options=_RATE | _LAYOUT,
            layout=_HTJ2K_ON_GPU,
        ),
    ],
    _add_rows,
)
