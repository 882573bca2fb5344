"""The options of a conversion as a type, for functions that hand them on to `job`. Read by type checkers."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TypedDict

from dcmtx.planning.site import SitePolicy
from dcmtx.policy import (
    Charset,
    Device,
    Icon,
    Lengths,
    NoPixels,
    OffsetTable,
    OneBit,
    Overlays,
    Removal,
    Signatures,
    Sync,
    Uid,
    UnusedBits,
    Verify,
    WordOrder,
)


class Options(TypedDict, total=False):
    """What `transcode` takes beside source, destination and target, as it is documented there."""

    lossy: bool
    quality: int | None
    ratio: float | None
    psnr: float | None
    near: int | None
    subsampling: str | None
    predictor: int | None
    resolutions: int | None
    progression: str | None
    tile: int | None
    code_block: int | None
    tile_parts: str | None
    effort: int | None
    uid: str | Uid
    offset_table: str | OffsetTable
    fragment_size: int | None
    overlays: str | Overlays
    icon: str | Icon
    signatures: str | Signatures
    unused_bits: str | UnusedBits
    one_bit: str | OneBit
    word_order: str | WordOrder
    apply_palette: bool
    photometric: str | None
    planar: int | None
    no_pixels: str | NoPixels
    remove: str | Removal
    lengths: str | Lengths
    charset: str | Charset
    dataset_only: bool
    assume: str | None
    ignore_errors: bool
    fallback: Iterable[str]
    verify: bool | str | Verify
    cross_check: bool
    skip_lossy: bool
    only_native: bool
    keep_if_larger: bool
    force: bool
    clobber: bool
    sync: str | Sync
    decoder: str | None
    encoder: str | None
    device: str | Device
    workers: int | None
    memory: int | str | None
    site: str | PathLike[str] | SitePolicy | None
    dry_run: bool
    digest: bool
