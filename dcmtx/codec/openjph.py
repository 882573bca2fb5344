"""HTJ2K by OpenJPH in the package ojph, both ways, at twice the speed of what imagecodecs brings (PS3.5 8.2.14).

The package's own functions of images write the precision of the container and mix up colours that share a transform, so
its bindings of OpenJPH are called, line by line: a line of each component for every row.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.codec.htj2k import BY_RESOLUTION, FEW, decompositions, streamed
from dcmtx.codec.jpeg2k import check_resolutions, relabel, shift_to_signed
from dcmtx.pixel import bits
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

# OpenJPH's OJPH_MSG_NO_MSG, and how the function that takes it is called in builds of the package and of others.
_NO_MESSAGES = 4
_SET_LEVEL = ("_ZN5ojphf17set_message_levelENS_14OJPH_MSG_LEVELE", "_ZN4ojph17set_message_levelENS_14OJPH_MSG_LEVELE")
# Room for a frame that is not compressed at all, beside its samples.
_HEADERS = 1 << 16


@functools.cache
def _library() -> Any:
    """Return the bindings, after keeping OpenJPH from writing to standard error; its errors are raised all the same.

    The bindings do not offer this, so the library inside them is asked.
    """
    import ctypes

    from ojph import ojph_bindings

    inside = ctypes.CDLL(ojph_bindings.__file__)
    for name in _SET_LEVEL:
        if hasattr(inside, name):
            getattr(inside, name)(_NO_MESSAGES)
    return ojph_bindings


def encode(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame, reversible, with TLM and the true precision; RPCL unless another progression is requested."""
    openjph = _library()
    few = coded.stored < FEW
    samples = bits.narrow(words, coded.stored)
    # Few bits are coded as eight and relabelled: rounding in many decompositions exceeds the library's limits.
    samples = shift_to_signed(samples, coded) if few else samples
    stream = openjph.Codestream()
    size = stream.access_siz()
    size.set_image_extent(openjph.Point(coded.columns, coded.rows))
    size.set_num_components(coded.samples)
    for component in range(coded.samples):
        size.set_component(component, openjph.Point(1, 1), max(coded.stored, FEW), few or coded.signed)
    if quality.tile:
        size.set_tile_size(openjph.Size(quality.tile, quality.tile))
    style = stream.access_cod()
    style.set_reversible(True)
    style.set_color_transform(coded.photometric == "YBR_RCT")
    style.set_num_decomposition(decompositions(coded, quality))
    style.set_progression_order(quality.progression or "RPCL")
    if quality.code_block is not None:
        style.set_block_dims(quality.code_block, quality.code_block)
    stream.set_planar(False)
    stream.set_tilepart_divisions(quality.tile_parts == BY_RESOLUTION, False)
    stream.request_tlm_marker(True)
    encoded = _written(stream, openjph.MemOutfile(), _lines(samples))
    check_resolutions("htj2k", encoded, quality)
    return relabel(encoded, coded) if few else encoded


def encode_streamed(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame as `encode` does, but by default in a tile-part for each resolution."""
    return encode(words, plain, coded, streamed(quality))


def _lines(samples: Words) -> Words:
    """Return the lines of all components as rows of one plane, as the library takes them; it wants to own the array."""
    if samples.ndim == 3:
        rows, columns, components = samples.shape
        samples = np.ascontiguousarray(samples.transpose(0, 2, 1)).reshape(rows * components, columns)
    return np.require(samples, requirements=["C", "W"])


def _written(stream: Any, file: Any, lines: Words) -> bytes:
    file.open(lines.nbytes + _HEADERS, False)
    stream.write_headers(file, None, 0)
    stream.push_all_components(lines, 1, "HW")
    stream.flush()
    encoded = bytes(file.get_data())
    # This closes the file too.
    stream.close()
    return encoded


def decode(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame, colour by pixel; a component transform is undone, so YBR_RCT and YBR_ICT become RGB.

    What lossy coding moves out of range becomes the nearest value in range.
    """
    openjph = _library()
    file = openjph.MemInfile()
    file.open(np.frombuffer(data, np.uint8))
    stream = openjph.Codestream()
    stream.read_headers(file)
    size = stream.access_siz()
    found = (size.get_recon_height(0), size.get_recon_width(0), size.get_num_components())
    if found != (coded.rows, coded.columns, coded.samples):
        raise ValueError(f"the codestream has {found[0]}x{found[1]} pixels of {found[2]} components")
    depth, signed = size.get_bit_depth(0), size.is_signed(0)
    width = 8 if depth <= 8 else 16 if depth <= 16 else 32
    lines = np.empty((coded.rows * coded.samples, coded.columns), f"{'int' if signed else 'uint'}{width}")
    lowest = -(1 << depth - 1) if signed else 0
    stream.restrict_input_resolution(0, 0)
    stream.create()
    stream.set_planar(False)
    stream.pull_all_components(lines, 1, "HW", lowest, lowest + (1 << depth) - 1)
    stream.close()
    if coded.samples == 1:
        return lines
    frame: Words = np.ascontiguousarray(lines.reshape(coded.rows, coded.samples, coded.columns).transpose(0, 2, 1))
    return frame
