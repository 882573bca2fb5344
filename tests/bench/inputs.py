"""Make the inputs of the benchmark: `python inputs.py DIRECTORY CT NAME KIND COUNT STORED`.

CT is a file, or empty for a synthetic one. KIND is `grey` (one frame is the CT image itself, more are a Multi-frame
Grayscale Word Secondary Capture of copies of it, each shifted and with noise of its own), `rgb` (an ultrasound loop of
COUNT frames), `files` (COUNT CT images, copies likewise, in a directory NAME), `small` (the same, cut to 64 by 64) or
`cr` (COUNT CR images of 2048 by 2500). Beside NAME.dcm, Explicit VR Little
Endian with Pixel Data last, NAME.geometry says what the bare script needs: rows, columns, frames, Bits Stored, Pixel
Representation, and the offset of the pixels in bytes.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

SIDE = 512
NOISE = 24  # Hounsfield units, before smoothing
SMALL = 64
CR_ROWS, CR_COLUMNS = 2500, 2048


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


def unsigned(ct: pydicom.Dataset) -> NDArray[np.int32]:
    """Return the pixels of a CT image, moved to where noise cannot leave 12 unsigned bits."""
    image = ct.pixel_array.astype(np.int32)
    return (image - image.min()).clip(0, 4087) + 4


def copies(image: NDArray[np.int32], count: int) -> Iterator[bytes]:
    """Yield copies of an image as words, each shifted and with noise of its own."""
    random = np.random.default_rng(1)
    for number in range(count):
        shifted = np.roll(image, (3 * number, 5 * number), (0, 1))
        yield (shifted + random.integers(-2, 3, image.shape)).astype("<u2").tobytes()


def multi_frame(make: ModuleType, ct: pydicom.Dataset, frames: int, stored: int) -> pydicom.Dataset:
    """Return a file of that many copies of a CT image."""
    image = unsigned(ct)
    dataset = make.sc_multiframe("frames", image.shape, stored, frames)
    return with_pixels(dataset, b"".join(copies(image, frames)), "OW")


def ultrasound(make: ModuleType, frames: int) -> pydicom.Dataset:
    """Return a loop of RGB frames: a sector with the speckle of ultrasound."""
    random = np.random.default_rng(2)
    value = bytearray()
    for number in range(frames):
        frame = make.fan(SIDE, SIDE, number).astype(np.float64)
        grain = random.normal(0, 1, (SIDE + 3, SIDE + 1))
        speckle = sum(grain[y : y + SIDE, x : x + SIDE] for y in range(4) for x in range(2)) / 8**0.5
        value += (frame * (1 + 0.2 * speckle[:, :, None])).round().clip(0, 255).astype(np.uint8).tobytes()
    return with_pixels(make.us("loop", (SIDE, SIDE, 3), "RGB", frames=frames), bytes(value), "OB")


def with_pixels(dataset: pydicom.Dataset, value: bytes, vr: str) -> pydicom.Dataset:
    """Return a data set with native pixels."""
    dataset.PixelData = value
    dataset["PixelData"].VR = vr
    return dataset


def described() -> FileMetaDataset:
    """Return File Meta Information that says Explicit VR Little Endian."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def save(path: Path, dataset: pydicom.Dataset) -> list[int]:
    """Write a file and return what the bare script must know."""
    dataset.file_meta = described()
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    offset = path.stat().st_size - len(dataset.PixelData)
    frames = int(dataset.get("NumberOfFrames", 1))
    return [dataset.Rows, dataset.Columns, frames, dataset.BitsStored, dataset.PixelRepresentation, offset]


def write(directory: Path, ct: str, name: str, kind: str, count: int, stored: int) -> None:
    """Write one input."""
    make = phantoms()
    dataset = real(ct) if ct else synthetic(make)
    # pydicom asks what the pixels are encoded in before it hands them out.
    dataset.file_meta = described()
    if kind in ("files", "small"):
        image = unsigned(dataset)
        middle = slice(SIDE // 2, SIDE // 2 + SMALL)
        image = image[middle, middle] if kind == "small" else image
        geometry = write_files(directory / name, make, copies(image, count), make.ct("ct", image, stored, signed=False))
    elif kind == "cr":
        image = radiograph(make)
        geometry = write_files(directory / name, make, copies(image, count), make.cr("cr", image, stored))
    elif kind == "rgb":
        geometry = save(directory / f"{name}.dcm", ultrasound(make, count))
    else:
        geometry = save(directory / f"{name}.dcm", multi_frame(make, dataset, count, stored) if count > 1 else dataset)
    (directory / f"{name}.geometry").write_text(",".join(map(str, geometry)), encoding="ascii")


def radiograph(make: ModuleType) -> NDArray[np.int32]:
    """Return the pixels of a CR image of 12 bits: smooth, with noise in two neighbours."""
    noise = np.random.default_rng(3).normal(0, NOISE, (CR_ROWS, CR_COLUMNS + 1))
    smooth = make.scaled(CR_ROWS, CR_COLUMNS, 12) * 0.9 + (noise[:, 1:] + noise[:, :-1]) / 2
    return smooth.round().astype(np.int32).clip(0, 4087) + 4


def write_files(directory: Path, make: ModuleType, values: Iterator[bytes], dataset: pydicom.Dataset) -> list[int]:
    """Write a directory with an image for each of these pixels, each an instance of its own."""
    directory.mkdir(exist_ok=True)
    geometry: list[int] = []
    for number, value in enumerate(values):
        with_pixels(dataset, value, "OW")
        dataset.SOPInstanceUID = f"{make.make_uid('ct')[:55]}.{number + 1}"
        geometry = save(directory / f"{number:04}.dcm", dataset)
    return geometry


if __name__ == "__main__":
    write(Path(sys.argv[1]), *sys.argv[2:5], int(sys.argv[5]), int(sys.argv[6]))
