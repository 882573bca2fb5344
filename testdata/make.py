"""Make the test images of this directory, and MANIFEST.tsv: `python testdata/make.py [DIRECTORY]`.

Every image is synthetic and follows its information object definition. The data sets are made by pydicom, the
codestreams by pydicom, imagecodecs, pyjpegls and pylibjpeg-openjpeg, nothing by dcmtx. A run gives the same bytes
whenever it happens: UIDs come from names, dates are fixed, phantoms are integer arithmetic without noise.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import uuid
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from jpeg_ls import encode_buffer
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from pydicom import dcmwrite, uid
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.tag import Tag

Pixels = NDArray[Any]
HERE = Path(__file__).resolve().parent
MANIFEST = "MANIFEST.tsv"
COLUMNS = ("path", "bytes", "sha256", "transfer syntax", "made by", "what it is for")
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "testdata.dcmtx.invalid")

CT_IMAGE, MR_IMAGE, CR_IMAGE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.1"
US_IMAGE, US_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1"
SC_IMAGE, SC_GREY_BYTE, SC_GREY_WORD = (f"1.2.840.10008.5.1.4.1.1.7{end}" for end in ("", ".2", ".3"))
SEGMENTATION, RT_DOSE, RT_PLAN = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("66.4", "481.2", "481.5"))
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"

# --- identifiers, dates, codes ---------------------------------------------------------------------------------


def make_uid(name: str) -> str:
    """Return the UID that belongs to a name, now and ever (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(NAMESPACE, name).int}"


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return an item with one code."""
    return elements(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def elements(**values: Any) -> Dataset:
    """Return a data set with these values, by keyword."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


# --- phantoms --------------------------------------------------------------------------------------------------


def _disc(rows: int, columns: int, centre: tuple[int, int], radii: tuple[int, int]) -> Pixels:
    """Return where an ellipse is; its centre and radii are in percent of the image."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.int64)
    down = (200 * y + 100 - 2 * centre[0] * rows) * radii[1] * columns
    across = (200 * x + 100 - 2 * centre[1] * columns) * radii[0] * rows
    inside: Pixels = down**2 + across**2 <= (2 * radii[0] * rows * radii[1] * columns) ** 2
    return inside


def section(rows: int, columns: int, turn: int = 0) -> Pixels:
    """Return a body in Hounsfield units, -1024 to 3071: air, fat, soft tissue, organs, bone, a ramp and metal."""
    y, x = np.mgrid[0:rows, 0:columns]
    image = np.full((rows, columns), -1000, np.int64)
    image[_disc(rows, columns, (50, 50), (42, 46))] = -90
    image[_disc(rows, columns, (50, 50), (38, 42))] = 40
    organs = [((42, 30), (17, 11), -820), ((42, 70), (17, 11), -820), ((56, 48), (11, 12), 65)]
    organs += [((77, 50), (8, 8), 700), ((77, 50), (4, 4), 20), ((30, 44 + 2 * turn), (6, 6), 190)]
    for centre, radii, value in organs:
        where = _disc(rows, columns, centre, radii)
        image[where] = value + (x[where] * 7 + y[where] * 5) % 13
    bar = slice(rows * 90 // 100, max(rows * 95 // 100, rows * 90 // 100 + 1))
    image[bar] = -1024 + x[bar] * 4095 // max(columns - 1, 1)
    return image


def scaled(rows: int, columns: int, bits: int, turn: int = 0) -> Pixels:
    """Return the same body over the whole range of `bits` unsigned bits."""
    grey = section(rows, columns, turn) + 1024
    return grey >> (12 - bits) if bits <= 12 else grey << (bits - 12) | grey >> (24 - bits)


def fan(rows: int, columns: int, turn: int = 0) -> Pixels:
    """Return an ultrasound sector in RGB, with a colour flow box and a colour bar, frame `turn` of a cine."""
    y, x = np.mgrid[0:rows, 0:columns]
    depth = y * 255 // max(rows - 1, 1)
    inside = np.abs(2 * x - columns) * 10 <= 3 * columns + 6 * y * columns // rows
    grey = np.where(inside, 60 + (depth + 11 * ((x * 3 + y * 5 + turn) % 7)) % 160, 0)
    image = np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    vessel = _disc(rows, columns, (55, 46 + 3 * turn), (9, 20))
    flow = (x * 255 // columns)[vessel]
    image[vessel] = np.stack([flow, np.minimum(flow, 255 - flow) // 2, 255 - flow], axis=1)
    bar = columns - max(columns // 16, 1)
    image[:, bar:] = np.stack([255 - depth, np.zeros_like(depth), depth], axis=2)[:, bar:]
    return image.astype(np.uint8)


def to_ybr_full(image: Pixels) -> Pixels:
    """Return RGB as YBR_FULL (PS3.3 C.7.6.3.1.2), in fixed point so that every machine rounds alike."""
    red, green, blue = (image[..., sample].astype(np.int64) for sample in range(3))
    y = (299000 * red + 587000 * green + 114000 * blue + 500000) // 1000000
    cb = (-168736 * red - 331264 * green + 500000 * blue + 128500000) // 1000000
    cr = (500000 * red - 418688 * green - 81312 * blue + 128500000) // 1000000
    return np.clip(np.stack([y, cb, cr], axis=-1), 0, 255).astype(np.uint8)


def to_ybr_full_422(image: Pixels) -> Pixels:
    """Return RGB as the cells of YBR_FULL_422: Y1 Y2 Cb Cr for every two pixels of a row (PS3.3 C.7.6.3.1.2)."""
    ybr = to_ybr_full(image).astype(np.int64)
    first, second = ybr[:, 0::2], ybr[:, 1::2]
    chroma = (first[..., 1:] + second[..., 1:]) // 2
    cells = np.concatenate([first[..., :1], second[..., :1], chroma], axis=-1)
    return cells.astype(np.uint8).reshape(len(image), -1)


# --- modules of the information objects ------------------------------------------------------------------------


def common(name: str, sop_class: str, modality: str) -> Dataset:
    """Return Patient, General Study, General Series, General Equipment and SOP Common (PS3.3 C.7, C.12.1)."""
    return elements(
        SpecificCharacterSet="ISO_IR 100", SOPClassUID=sop_class, SOPInstanceUID=make_uid(name),
        StudyDate="20200229", SeriesDate="20200229", ContentDate="20200229", StudyTime="120000", SeriesTime="120500",
        ContentTime="121000", AccessionNumber="", Modality=modality, Manufacturer="dcmtx", ReferringPhysicianName="",
        StudyDescription="Synthetic phantom", SeriesDescription=name, ManufacturerModelName="Phantom",
        PatientName="Phantom^Jürgen", PatientID="DCMTX-1", PatientBirthDate="19700101", PatientSex="O",
        DeviceSerialNumber="1", SoftwareVersions="1", StudyInstanceUID=make_uid("study"),
        SeriesInstanceUID=make_uid(f"series {name}"), StudyID="1", SeriesNumber=1, InstanceNumber=1,
        BodyPartExamined="ABDOMEN", PatientOrientation="",
    )  # fmt: skip


def tomogram(name: str, sop_class: str, modality: str, size: tuple[int, int]) -> Dataset:
    """Return the above with Frame of Reference, General Image and Image Plane (PS3.3 C.7.4.1, C.7.6.1, C.7.6.2)."""
    dataset = common(name, sop_class, modality)
    spacing = 384 / max(size)
    dataset.update(
        elements(
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], FrameOfReferenceUID=make_uid("frame of reference"),
            PositionReferenceIndicator="", PatientPosition="HFS", AcquisitionNumber=1,
            ImagePositionPatient=[-192, -192, 0], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[spacing, spacing], SliceThickness=5,
        )
    )  # fmt: skip
    del dataset.PatientOrientation
    return dataset


def pixel_format(
    dataset: Dataset, shape: Sequence[int], photometric: str, allocated: int, stored: int, *, signed: bool = False
) -> None:
    """Describe the pixels (PS3.3 C.7.6.3)."""
    dataset.update(
        elements(
            SamplesPerPixel=3 if len(shape) == 3 else 1, PhotometricInterpretation=photometric, Rows=shape[0],
            Columns=shape[1], BitsAllocated=allocated, BitsStored=stored, HighBit=stored - 1,
            PixelRepresentation=int(signed),
        )
    )  # fmt: skip
    if len(shape) == 3:
        dataset.PlanarConfiguration = 0


def ct(name: str, image: Pixels, stored: int, *, signed: bool) -> Dataset:
    """Return a CT Image without its pixels (PS3.3 A.3)."""
    dataset = tomogram(name, CT_IMAGE, "CT", image.shape)
    dataset.update(
        elements(
            KVP=120, ConvolutionKernel="STANDARD", RescaleIntercept=0 if signed else -1024, RescaleSlope=1,
            RescaleType="HU", WindowCenter=40, WindowWidth=400,
        )
    )  # fmt: skip
    pixel_format(dataset, image.shape, "MONOCHROME2", 16, stored, signed=signed)
    # US or SS, which Implicit VR leaves to Pixel Representation.
    dataset.PixelPaddingValue = -2048 if signed else 0
    return dataset


def mr(name: str, image: Pixels, stored: int) -> Dataset:
    """Return an MR Image without its pixels (PS3.3 A.4)."""
    dataset = tomogram(name, MR_IMAGE, "MR", image.shape)
    dataset.update(
        elements(
            ScanningSequence="SE", SequenceVariant="NONE", ScanOptions="", MRAcquisitionType="2D", RepetitionTime=500,
            EchoTime=15, EchoTrainLength=1, ImageType=["ORIGINAL", "PRIMARY", "M"], PatientWeight=70,
        )
    )  # fmt: skip
    pixel_format(dataset, image.shape, "MONOCHROME2", 16, stored)
    return dataset


def cr(name: str, image: Pixels, stored: int) -> Dataset:
    """Return a Computed Radiography image without its pixels (PS3.3 A.2)."""
    dataset = common(name, CR_IMAGE, "CR")
    dataset.update(
        elements(
            ImageType=["ORIGINAL", "PRIMARY"], ViewPosition="PA", PatientOrientation=["L", "F"], PixelSpacing=[4, 4],
            WindowCenter=1 << (stored - 1), WindowWidth=1 << stored,
        )
    )  # fmt: skip
    pixel_format(dataset, image.shape, "MONOCHROME1", 16, stored)
    return dataset


def us(name: str, shape: Sequence[int], photometric: str, *, frames: int | None = None) -> Dataset:
    """Return an Ultrasound Image, or a Multi-frame one, without its pixels (PS3.3 A.6, A.7)."""
    dataset = common(name, US_IMAGE if frames is None else US_MULTIFRAME, "US")
    dataset.update(elements(ImageType=["ORIGINAL", "PRIMARY", "", "0010"], LossyImageCompression="00"))
    pixel_format(dataset, shape, photometric, 8, 8)
    if frames is not None:
        cine(dataset, frames)
    return dataset


def sc(name: str, shape: Sequence[int], photometric: str, allocated: int) -> Dataset:
    """Return a Secondary Capture image without its pixels (PS3.3 A.8.1)."""
    dataset = common(name, SC_IMAGE, "OT")
    dataset.update(elements(ConversionType="SYN", ImageType=["DERIVED", "SECONDARY"]))
    pixel_format(dataset, shape, photometric, allocated, allocated)
    return dataset


def sc_multiframe(name: str, shape: Sequence[int], stored: int, frames: int) -> Dataset:
    """Return a Multi-frame Grayscale Byte or Word Secondary Capture without its pixels (PS3.3 A.8.3, A.8.4)."""
    allocated = 8 if stored == 8 else 16
    dataset = common(name, SC_GREY_BYTE if allocated == 8 else SC_GREY_WORD, "OT")
    dataset.update(
        elements(
            ConversionType="SYN", ImageType=["DERIVED", "SECONDARY"], BurnedInAnnotation="NO", RescaleIntercept=0,
            RescaleSlope=1, RescaleType="US", PresentationLUTShape="IDENTITY",
        )
    )  # fmt: skip
    pixel_format(dataset, shape, "MONOCHROME2", allocated, stored)
    cine(dataset, frames)
    return dataset


def cine(dataset: Dataset, frames: int) -> None:
    """Add the Multi-frame and Cine modules (PS3.3 C.7.6.5, C.7.6.6)."""
    dataset.update(elements(NumberOfFrames=frames, FrameIncrementPointer=Tag("FrameTime"), FrameTime=40))


# --- pixels ----------------------------------------------------------------------------------------------------


def native(dataset: Dataset, *frames: Pixels) -> Dataset:
    """Add Pixel Data: words of Bits Allocated, or bytes that are what they are (PS3.5 8.1.1, 8.2)."""
    kind = "i" if dataset.PixelRepresentation else "u"
    words = f"<{kind}{max(dataset.BitsAllocated // 8, 1)}"
    value = b"".join(np.ascontiguousarray(frame).astype(words).tobytes() for frame in frames)
    dataset.PixelData = value + b"\0" * (len(value) % 2)
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
    return dataset


def encapsulated(dataset: Dataset, *frames: bytes, fragments: int = 1, table: bool = True) -> Dataset:
    """Add Pixel Data of these codestreams, with a Basic Offset Table or an empty one (PS3.5 A.4)."""
    dataset.PixelData = encapsulate(list(frames), fragments_per_frame=fragments, has_bot=table)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def jpeg_lossless(frame: Pixels, bits: int) -> bytes:
    """Return lossless JPEG, predictor 1."""
    return bytes(imagecodecs.jpeg8_encode(frame, lossless=True, predictor=1, bitspersample=bits))


def jpeg_422(frame: Pixels) -> bytes:
    """Return lossy JPEG of RGB as YCbCr, two pixels of a row sharing their chroma."""
    return bytes(imagecodecs.jpeg8_encode(frame, level=90, colorspace="RGB", outcolorspace="YCBCR", subsampling="422"))


def jpegls(frame: Pixels, bits: int) -> bytes:
    """Return JPEG-LS of unsigned samples of this precision."""
    return bytes(encode_buffer(frame.tobytes(), *frame.shape[:2], 1, bits))


def j2k(frame: Pixels, bits: int) -> bytes:
    """Return a reversible JPEG 2000 codestream."""
    return encode_array(frame, bits_stored=bits, photometric_interpretation=2, use_mct=False)


def htj2k(frame: Pixels) -> bytes:
    """Return a reversible HTJ2K codestream in RPCL order with TLM, RGB as YBR_RCT, of 8 or 16 bits."""
    colour = frame.ndim == 3
    encoded = imagecodecs.htj2k_encode(
        frame, reversible=True, rgb=colour, planar=False if colour else None, resolutions=5, tlm=True
    )
    return bytes(encoded)


def rle(dataset: Dataset, frame: Pixels) -> bytes:
    """Return RLE Lossless, encoded by pydicom itself."""
    options = {
        "rows": dataset.Rows, "columns": dataset.Columns, "samples_per_pixel": dataset.SamplesPerPixel,
        "photometric_interpretation": dataset.PhotometricInterpretation, "bits_allocated": dataset.BitsAllocated,
        "bits_stored": dataset.BitsStored, "pixel_representation": dataset.PixelRepresentation, "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }  # fmt: skip
    if dataset.SamplesPerPixel > 1:
        options["planar_configuration"] = 0
    return RLELosslessEncoder.encode(frame, encoding_plugin="pydicom", **options)


def low_bits(image: Pixels, bits: int) -> Pixels:
    """Return signed values as the unsigned samples that JPEG and JPEG-LS code (PS3.5 8.2.1 Note 4)."""
    return (image & ((1 << bits) - 1)).astype(np.uint16)


# --- the files -------------------------------------------------------------------------------------------------

SIZE = (96, 96)


def ct_explicit(name: str) -> Dataset:
    """12 bits in 16, signed."""
    image = section(*SIZE)
    return native(ct(name, image.clip(-2048, 2047), 12, signed=True), image.clip(-2048, 2047))


def ct_implicit(name: str) -> Dataset:
    """12 bits in 16, unsigned, rescaled."""
    image = scaled(*SIZE, 12)
    return native(ct(name, image, 12, signed=False), image)


def ct_deflated(name: str) -> Dataset:
    """16 bits, signed."""
    image = section(*SIZE)
    return native(ct(name, image, 16, signed=True), image)


def mr_big_endian(name: str) -> Dataset:
    """16 bits, unsigned. pydicom swaps every element but Pixel Data of OW, which it takes as it is given."""
    image = scaled(*SIZE, 16)
    dataset = native(mr(name, image, 16), image)
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    return dataset


def cr_jpeg_lossless(name: str) -> Dataset:
    """10 bits in 16, inverse, sides of odd length."""
    image = 1023 - scaled(61, 47, 10)
    return encapsulated(cr(name, image, 10), jpeg_lossless(image.astype(np.uint16), 10))


def ct_jpegls(name: str) -> Dataset:
    """12 bits of which the highest is the sign, which JPEG-LS does not know."""
    image = section(*SIZE).clip(-2048, 2047)
    return encapsulated(ct(name, image, 12, signed=True), jpegls(low_bits(image, 12), 12))


def ct_rle(name: str) -> Dataset:
    """Whole words, the sign copied upward."""
    image = section(*SIZE).clip(-2048, 2047)
    dataset = ct(name, image, 12, signed=True)
    return encapsulated(dataset, rle(dataset, image.astype(np.int16)))


def ct_j2k(name: str) -> Dataset:
    """12 bits, signed in the codestream too."""
    image = section(*SIZE).clip(-2048, 2047)
    return encapsulated(ct(name, image, 12, signed=True), j2k(image.astype(np.int16), 12))


def mr_htj2k(name: str) -> Dataset:
    """16 bits, unsigned."""
    image = scaled(*SIZE, 16)
    return encapsulated(mr(name, image, 16), htj2k(image.astype(np.uint16)))


def sc_multiframe_odd(name: str) -> Dataset:
    """Grey of 8 bits, three frames of 33 by 17: the second starts at an odd byte, the value is padded."""
    frames = [scaled(33, 17, 8, turn) for turn in range(3)]
    return native(sc_multiframe(name, (33, 17), 8, 3), *frames)


def sc_1x1(name: str) -> Dataset:
    """One pixel: one byte and one of padding."""
    return native(sc(name, (1, 1), "MONOCHROME2", 8), np.array([[127]]))


def us_rgb_by_pixel(name: str) -> Dataset:
    """RGB, colour by pixel."""
    image = fan(64, 80)
    return native(us(name, image.shape, "RGB"), image)


def us_rgb_by_plane(name: str) -> Dataset:
    """RGB, colour by plane, sides of odd length."""
    image = fan(63, 81)
    dataset = native(us(name, image.shape, "RGB"), image.transpose(2, 0, 1))
    dataset.PlanarConfiguration = 1
    return dataset


def us_ybr_full_rle(name: str) -> Dataset:
    """YBR_FULL in RLE, which is planar whatever the attribute says; it says so."""
    image = to_ybr_full(fan(64, 80))
    dataset = us(name, image.shape, "YBR_FULL")
    dataset.PlanarConfiguration = 1
    return encapsulated(dataset, rle(dataset, image))


def sc_ybr_full_422(name: str) -> Dataset:
    """Native YBR_FULL_422: two pixels share their chroma."""
    image = fan(64, 80)
    return native(sc(name, image.shape, "YBR_FULL_422", 8), to_ybr_full_422(image))


def us_jpeg_baseline(name: str) -> Dataset:
    """Lossy JPEG of shared chroma, with all that PS3.3 C.7.6.1.1.5 asks of a lossy image."""
    image = fan(64, 80)
    stream = jpeg_422(image)
    dataset = us(name, image.shape, "YBR_FULL_422")
    dataset.update(
        elements(
            ImageType=["DERIVED", "PRIMARY", "", "0010"], LossyImageCompression="01",
            LossyImageCompressionRatio=f"{image.nbytes / len(stream):.2f}",
            LossyImageCompressionMethod="ISO_10918_1", DerivationDescription="Lossy JPEG, 4:2:2",
            DerivationCodeSequence=[code("113040", "DCM", "Lossy Compression")],
        )
    )  # fmt: skip
    dataset.SourceImageSequence = [
        elements(
            ReferencedSOPClassUID=US_IMAGE, ReferencedSOPInstanceUID=make_uid("us-rgb-by-pixel"),
            PurposeOfReferenceCodeSequence=[code("121320", "DCM", "Uncompressed predecessor")],
        )
    ]  # fmt: skip
    return encapsulated(dataset, stream)


def palette(dataset: Dataset, count: int) -> None:
    """Add lookup tables of `count` entries of 16 bits: black through red and yellow to white (PS3.3 C.7.6.3.1.5)."""
    ramp = np.arange(count, dtype=np.int64) * 3 * 65535 // (count - 1)
    for number, colour in enumerate(("Red", "Green", "Blue")):
        entries = np.clip(ramp - number * 65535, 0, 65535)
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [count, 0, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", entries.astype("<u2").tobytes())


def us_palette_8(name: str) -> Dataset:
    """Indexes of 8 bits into tables of 256 entries of 16 bits."""
    image = scaled(*SIZE, 8)
    dataset = us(name, image.shape, "PALETTE COLOR")
    palette(dataset, 256)
    return native(dataset, image)


def sc_palette_16(name: str) -> Dataset:
    """Indexes of 16 bits into tables of 1024 entries of 16 bits."""
    image = scaled(*SIZE, 10)
    dataset = sc(name, image.shape, "PALETTE COLOR", 16)
    palette(dataset, 1024)
    return native(dataset, image)


def us_multiframe_htj2k_rpcl(name: str) -> Dataset:
    """Three frames of RGB, transformed to YBR_RCT by the codestream (PS3.5 8.2.14, 10.18)."""
    frames = [fan(64, 80, turn) for turn in range(3)]
    return encapsulated(us(name, frames[0].shape, "YBR_RCT", frames=3), *map(htj2k, frames))


def sc_multiframe_fragments(name: str) -> Dataset:
    """Three frames, each in three fragments, and an empty Basic Offset Table: only the codestreams tell them apart."""
    frames = [scaled(64, 48, 8, turn).astype(np.uint8) for turn in range(3)]
    streams = [jpeg_lossless(frame, 8) for frame in frames]
    return encapsulated(sc_multiframe(name, (64, 48), 8, 3), *streams, fragments=3, table=False)


def sc_multiframe_extended_offsets(name: str) -> Dataset:
    """Three frames of 12 bits with an Extended Offset Table (PS3.3 C.7.6.3.1.8, PS3.5 A.4)."""
    frames = [scaled(64, 48, 12, turn).astype(np.uint16) for turn in range(3)]
    streams = [j2k(frame, 12) for frame in frames]
    dataset = encapsulated(sc_multiframe(name, (64, 48), 12, 3), *streams)
    value, offsets, lengths = encapsulate_extended(streams)
    dataset.PixelData = value
    dataset.update(elements(ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths))
    return dataset


def seg_binary(name: str) -> Dataset:
    """Five frames of 11 by 13 pixels of one bit: 143 bits, so that every frame but the first starts mid-byte."""
    rows, columns, frames = 11, 13, 5
    dataset = common(name, SEGMENTATION, "SEG")
    del dataset.PatientOrientation
    dimensions = make_uid("dimensions")
    dataset.update(
        elements(
            ImageType=["DERIVED", "PRIMARY"], FrameOfReferenceUID=make_uid("frame of reference"),
            PositionReferenceIndicator="", ContentLabel="SEGMENTATION", ContentDescription="Two discs",
            ContentCreatorName="dcmtx", SegmentationType="BINARY", NumberOfFrames=frames, LossyImageCompression="00",
            DimensionOrganizationSequence=[elements(DimensionOrganizationUID=dimensions)],
        )
    )  # fmt: skip
    dataset.DimensionIndexSequence = [
        elements(
            DimensionOrganizationUID=dimensions, DimensionIndexPointer=Tag(pointer),
            FunctionalGroupPointer=Tag(group), DimensionDescriptionLabel=label,
        )
        for pointer, group, label in [
            ("ReferencedSegmentNumber", "SegmentIdentificationSequence", "Segment"),
            ("ImagePositionPatient", "PlanePositionSequence", "Position"),
        ]
    ]  # fmt: skip
    dataset.SegmentSequence = [
        elements(
            SegmentNumber=number, SegmentLabel=label, SegmentAlgorithmType="MANUAL",
            SegmentedPropertyCategoryCodeSequence=[code("91723000", "SCT", "Anatomical Structure")],
            SegmentedPropertyTypeCodeSequence=[code(value, "SCT", label)],
        )
        for number, value, label in [(1, "10200004", "Liver"), (2, "64033007", "Kidney")]
    ]  # fmt: skip
    dataset.SharedFunctionalGroupsSequence = [
        elements(
            PixelMeasuresSequence=[elements(PixelSpacing=[4, 4], SliceThickness=5, SpacingBetweenSlices=5)],
            PlaneOrientationSequence=[elements(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        elements(
            FrameContentSequence=[elements(DimensionIndexValues=[segment, slice_])],
            PlanePositionSequence=[elements(ImagePositionPatient=[-26, -22, 5 * slice_])],
            SegmentIdentificationSequence=[elements(ReferencedSegmentNumber=segment)],
        )
        for segment, slice_ in [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]
    ]
    pixel_format(dataset, (rows, columns), "MONOCHROME2", 1, 1)
    masks = [_disc(rows, columns, (40 + 6 * frame, 50), (42 - 6 * frame, 45)) for frame in range(frames)]
    return native(dataset, np.packbits(np.concatenate(masks).reshape(-1), bitorder="little"))


def rtdose_32(name: str) -> Dataset:
    """Three frames of 32 bits, of which dose needs more than 16."""
    rows, columns, frames = 24, 32, 3
    dataset = tomogram(name, RT_DOSE, "RTDOSE", (rows, columns))
    for keyword in ("ImageType", "PatientPosition", "AcquisitionNumber", "BodyPartExamined"):
        delattr(dataset, keyword)
    dataset.update(
        elements(
            OperatorsName="", DoseUnits="GY", DoseType="PHYSICAL", DoseSummationType="PLAN", DoseGridScaling="1e-008",
            GridFrameOffsetVector=[0, 5, 10], NumberOfFrames=frames, FrameIncrementPointer=Tag("GridFrameOffsetVector"),
            ReferencedRTPlanSequence=[
                elements(ReferencedSOPClassUID=RT_PLAN, ReferencedSOPInstanceUID=make_uid("plan"))
            ],
        )
    )  # fmt: skip
    pixel_format(dataset, (rows, columns), "MONOCHROME2", 32, 32)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.int64)
    doses = [4_000_000_000 * 400 // (400 + (4 + level) * ((y - 12) ** 2 + (x - 16) ** 2)) for level in range(frames)]
    return native(dataset, *doses)


def ct_private_un(name: str) -> Dataset:
    """Private elements of many kinds, and UN: opaque bytes, a sequence of known length, one of undefined length."""
    dataset = ct_explicit(name)
    block = dataset.private_block(0x0099, "DCMTX PHANTOM 1.0", create=True)
    inner = elements(CodeMeaning="Innermost")
    inner.private_block(0x0099, "DCMTX PHANTOM 1.0", create=True).add_new(0x01, "DS", ["1.50", "-2.250"])
    middle = elements(PurposeOfReferenceCodeSequence=[inner], ReferencedSOPInstanceUID=make_uid("private"))
    for number, vr, value in [
        (0x01, "LO", "Jürgen's scanner"), (0x02, "US", [1, 65535]), (0x03, "SL", -100000), (0x04, "FD", 0.1),
        (0x05, "OB", bytes(range(32))), (0x06, "OW", bytes(range(16))), (0x07, "SQ", [middle]),
        (0x10, "UN", b"\x01\x02\x03\x04"), (0x11, "UN", implicit_sequence(0x0099, 0x21)),
    ]:  # fmt: skip
        block.add_new(number, vr, value)
    # Of undefined length, UN holds items, and what is inside is Implicit VR Little Endian (PS3.5 6.2.2 Note 2).
    element = DataElement(Tag(0x0099, 0x1012), "UN", implicit_sequence(0x0099, 0x31))
    element.is_undefined_length = True
    dataset[element.tag] = element
    return dataset


def implicit_sequence(group: int, number: int) -> bytes:
    """Return two items as they stand inside a sequence of Implicit VR Little Endian; the second holds another one."""

    def element(tag: tuple[int, int], value: bytes) -> bytes:
        return b"".join(part.to_bytes(2, "little") for part in tag) + len(value).to_bytes(4, "little") + value

    text = element((0x0008, 0x0104), b"A meaning ")
    creator = element((group, 0x0010), b"DCMTX PHANTOM 1.0 ")
    private = element((group, 0x1000 | number), b"\x2a\x00")
    nested = element((0x0040, 0xA170), element((0xFFFE, 0xE000), text))
    return element((0xFFFE, 0xE000), text + creator + private) + element((0xFFFE, 0xE000), nested)


def mr_overlay_bit_15(name: str) -> Dataset:
    """12 bits of pixels and, in bit 15 of each word, an overlay: retired, and met in old files (PS3.5 8.1.2)."""
    image = scaled(*SIZE, 12)
    dataset = mr(name, image, 12)
    for number, vr, value in [
        (0x0010, "US", SIZE[0]), (0x0011, "US", SIZE[1]), (0x0022, "LO", "Outline"), (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]), (0x0100, "US", 16), (0x0102, "US", 15),
    ]:  # fmt: skip
        dataset.add_new(Tag(0x6000, number), vr, value)
    outline = _disc(*SIZE, (50, 50), (42, 46)) ^ _disc(*SIZE, (50, 50), (40, 44))
    return native(dataset, image | outline.astype(np.int64) << 15)


def ct_icon_jpeg_lossless(name: str) -> Dataset:
    """Icon inside, encapsulated as the image is (PS3.5 A.4, PS3.3 C.7.6.1.1.6)."""
    image = scaled(*SIZE, 12)
    icon = Dataset()
    pixel_format(icon, (16, 16), "MONOCHROME2", 8, 8)
    encapsulated(icon, jpeg_lossless(scaled(16, 16, 8).astype(np.uint8), 8))
    dataset = ct(name, image, 12, signed=False)
    dataset.IconImageSequence = [icon]
    return encapsulated(dataset, jpeg_lossless(image.astype(np.uint16), 12))


def sr_text(name: str) -> Dataset:
    """Report: no pixels, text in UTF-8."""
    dataset = common(name, BASIC_TEXT_SR, "SR")
    for keyword in ("PatientOrientation", "BodyPartExamined"):
        delattr(dataset, keyword)
    dataset.update(
        elements(
            SpecificCharacterSet="ISO_IR 192", ReferencedPerformedProcedureStepSequence=[], ValueType="CONTAINER",
            ConceptNameCodeSequence=[code("18748-4", "LN", "Diagnostic Imaging Report")], CompletionFlag="COMPLETE",
            ContinuityOfContent="SEPARATE", PerformedProcedureCodeSequence=[], VerificationFlag="UNVERIFIED",
        )
    )  # fmt: skip
    dataset.ContentSequence = [
        elements(
            RelationshipType="CONTAINS", ValueType="TEXT", ConceptNameCodeSequence=[code("121071", "DCM", "Finding")],
            TextValue=text,
        )
        for text in ("Phantom, 18 °C, nothing found.", "Фантом без изменений.")
    ]  # fmt: skip
    return dataset


# --- writing ---------------------------------------------------------------------------------------------------

_IMAGECODECS, _PYJPEGLS, _OPENJPEG = "imagecodecs", "pyjpegls", "pylibjpeg-openjpeg"


@dataclass(frozen=True)
class File:
    """One file: its name without suffix, its transfer syntax, the library of its codestreams, and its purpose."""

    name: str
    syntax: str
    make: Callable[[str], Dataset]
    purpose: str
    codec: str = ""

    @property
    def path(self) -> str:
        """Its path below this directory."""
        return f"{self.name}.dcm"

    @property
    def made_by(self) -> str:
        """The libraries whose versions decide the bytes."""
        if self.codec == "zlib":
            return f"pydicom {version('pydicom')}, zlib {zlib.ZLIB_RUNTIME_VERSION}"
        return ", ".join(f"{name} {version(name)}" for name in ("pydicom", self.codec) if name)

    def encode(self) -> bytes:
        """Return the file."""
        dataset = self.make(self.name)
        meta = FileMetaDataset()
        meta.FileMetaInformationVersion = b"\0\1"
        meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        meta.TransferSyntaxUID = uid.UID(self.syntax)
        meta.ImplementationClassUID = uid.UID(make_uid("implementation"))
        meta.ImplementationVersionName = "DCMTX TESTDATA"
        dataset.file_meta = meta
        out = BytesIO()
        dcmwrite(out, dataset, enforce_file_format=True)
        return out.getvalue()


FILES = (
    File("ct-explicit", uid.ExplicitVRLittleEndian, ct_explicit, "grey, 12 bits in 16, signed; the plain case"),
    File("ct-implicit", uid.ImplicitVRLittleEndian, ct_implicit, "grey, 12 bits in 16, unsigned; Implicit VR"),
    File("ct-deflated", uid.DeflatedExplicitVRLittleEndian, ct_deflated, "grey, 16 bits, signed; deflated", "zlib"),
    File("mr-big-endian", uid.ExplicitVRBigEndian, mr_big_endian, "grey, 16 bits, unsigned; Big Endian"),
    File("ct-rle", uid.RLELossless, ct_rle, "RLE of signed words"),
    File("ct-jpegls", uid.JPEGLSLossless, ct_jpegls, "JPEG-LS of 12 signed bits", _PYJPEGLS),
    File("ct-j2k", uid.JPEG2000Lossless, ct_j2k, "JPEG 2000 of 12 signed bits", _OPENJPEG),
    File("mr-htj2k", uid.HTJ2KLossless, mr_htj2k, "HTJ2K of 16 bits", _IMAGECODECS),
    File("cr-jpeg-lossless", uid.JPEGLosslessSV1, cr_jpeg_lossless,
         "JPEG lossless of 10 bits; MONOCHROME1, odd sides", _IMAGECODECS),
    File("us-jpeg-baseline", uid.JPEGBaseline8Bit, us_jpeg_baseline,
         "lossy JPEG, YBR_FULL_422, with its loss recorded", _IMAGECODECS),
    File("sc-1x1", uid.ExplicitVRLittleEndian, sc_1x1, "one pixel of 8 bits"),
    File("sc-multiframe-odd", uid.ExplicitVRLittleEndian, sc_multiframe_odd,
         "grey, 8 bits, 3 frames of an odd number of bytes"),
    File("us-rgb-by-pixel", uid.ExplicitVRLittleEndian, us_rgb_by_pixel, "RGB, Planar Configuration 0"),
    File("us-rgb-by-plane", uid.ExplicitVRLittleEndian, us_rgb_by_plane, "RGB, Planar Configuration 1, odd sides"),
    File("us-ybr-full-rle", uid.RLELossless, us_ybr_full_rle, "YBR_FULL, RLE, Planar Configuration 1"),
    File("sc-ybr-full-422", uid.ExplicitVRLittleEndian, sc_ybr_full_422, "native YBR_FULL_422"),
    File("us-palette-8", uid.ExplicitVRLittleEndian, us_palette_8, "PALETTE COLOR, 8 bits"),
    File("sc-palette-16", uid.ExplicitVRLittleEndian, sc_palette_16, "PALETTE COLOR, 16 bits"),
    File("us-multiframe-htj2k-rpcl", uid.HTJ2KLosslessRPCL, us_multiframe_htj2k_rpcl,
         "HTJ2K with RPCL options, YBR_RCT, 3 frames", _IMAGECODECS),
    File("sc-multiframe-fragments", uid.JPEGLosslessSV1, sc_multiframe_fragments,
         "3 frames in 3 fragments each, empty Basic Offset Table", _IMAGECODECS),
    File("sc-multiframe-extended-offsets", uid.JPEG2000Lossless, sc_multiframe_extended_offsets,
         "3 frames with an Extended Offset Table", _OPENJPEG),
    File("seg-binary", uid.ExplicitVRLittleEndian, seg_binary, "1 bit, 5 frames that start mid-byte"),
    File("rtdose-32", uid.ExplicitVRLittleEndian, rtdose_32, "grey, 32 bits, 3 frames"),
    File("ct-private-un", uid.ExplicitVRLittleEndian, ct_private_un,
         "private elements and UN, with sequences inside, of undefined length too"),
    File("mr-overlay-bit-15", uid.ExplicitVRLittleEndian, mr_overlay_bit_15, "an overlay in bit 15 of 12-bit pixels"),
    File("ct-icon-jpeg-lossless", uid.JPEGLosslessSV1, ct_icon_jpeg_lossless,
         "an icon, encapsulated like the image", _IMAGECODECS),
    File("sr-text", uid.ExplicitVRLittleEndian, sr_text, "no pixels; UTF-8"),
)  # fmt: skip


def manifest_row(file: File, data: bytes) -> tuple[str, ...]:
    """Return the line of one file, by column."""
    digest = hashlib.sha256(data).hexdigest()
    return (file.path, str(len(data)), digest, str(file.syntax), file.made_by, file.purpose)


def write_all(directory: Path) -> None:
    """Write every file, and the manifest."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = [COLUMNS]
    for file in FILES:
        data = file.encode()
        (directory / file.path).write_bytes(data)
        rows.append(manifest_row(file, data))
    text = "".join("\t".join(row) + "\n" for row in rows)
    (directory / MANIFEST).write_text(text, encoding="ascii")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the test images and MANIFEST.tsv.")
    parser.add_argument("directory", nargs="?", type=Path, default=HERE, metavar="DIRECTORY")
    write_all(parser.parse_args().directory)
    print(f"{len(FILES)} files made by Python {platform.python_version()}")
