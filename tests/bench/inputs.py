"""Make the inputs of the benchmark: `python inputs.py DIRECTORY CT NAME FRAMES STORED`.

CT is a file, or empty for a synthetic one. One frame gives the CT image itself, more give a Multi-frame Grayscale Word
Secondary Capture of copies of it, each shifted and with noise of its own. Beside NAME.dcm, Explicit VR Little Endian
with Pixel Data last, NAME.geometry says what the bare script needs: rows, columns, frames, Bits Stored, Pixel
Representation, and the offset of the pixels in bytes.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

SIDE = 512
NOISE = 24  # Hounsfield units, before smoothing


def phantoms() -> ModuleType:
    """Return the maker of the test images, which has phantoms and data sets to offer."""
    path = Path(__file__).resolve().parents[2] / "testdata" / "make.py"
    spec = importlib.util.spec_from_file_location("make_testdata", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_testdata"] = module
    spec.loader.exec_module(module)
    return module


def synthetic(make: ModuleType) -> pydicom.Dataset:
    """Return a CT image of 12 signed bits: a section with the correlated noise that reconstruction leaves."""
    noise = np.random.default_rng(0).normal(0, NOISE, (SIDE + 2, SIDE + 2))
    smooth = sum(noise[y : y + SIDE, x : x + SIDE] for y in range(3) for x in range(3)) / 3
    section = make.section(SIDE, SIDE)
    image = np.where(section > -1000, section + smooth, section).round().astype(np.int64).clip(-1024, 2047)
    return make.native(make.ct("ct", image, 12, signed=True), image)


def real(path: str) -> pydicom.Dataset:
    """Return a CT image of the user's, native and without what stands behind its pixels."""
    dataset = pydicom.dcmread(path)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.decompress(generate_instance_uid=False)
    for element in list(dataset):
        if element.tag > 0x7FE00010:
            del dataset[element.tag]
    return dataset


def copies(make: ModuleType, ct: pydicom.Dataset, frames: int, stored: int) -> pydicom.Dataset:
    """Return that many copies of a CT image, unsigned."""
    image = ct.pixel_array.astype(np.int32)
    image = (image - image.min()).clip(0, 4087) + 4
    dataset = make.sc_multiframe("frames", image.shape, stored, frames)
    random = np.random.default_rng(1)
    value = bytearray()
    for number in range(frames):
        shifted = np.roll(image, (3 * number, 5 * number), (0, 1))
        value += (shifted + random.integers(-2, 3, image.shape)).astype("<u2").tobytes()
    dataset.PixelData = bytes(value)
    dataset["PixelData"].VR = "OW"
    return dataset


def described() -> FileMetaDataset:
    """Return File Meta Information that says Explicit VR Little Endian."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def write(directory: Path, ct: str, name: str, frames: int, stored: int) -> None:
    """Write one input."""
    make = phantoms()
    dataset = real(ct) if ct else synthetic(make)
    # pydicom asks what the pixels are encoded in before it hands them out.
    dataset.file_meta = described()
    if frames > 1:
        dataset = copies(make, dataset, frames, stored)
        dataset.file_meta = described()
    path = directory / f"{name}.dcm"
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    offset = path.stat().st_size - len(dataset.PixelData)
    geometry = [dataset.Rows, dataset.Columns, frames, dataset.BitsStored, dataset.PixelRepresentation, offset]
    (directory / f"{name}.geometry").write_text(",".join(map(str, geometry)), encoding="ascii")


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
