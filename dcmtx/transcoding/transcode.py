"""The library's main function: one file to one transfer syntax."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, overload

from dcmtx.errors import RefusedError, UsageError
from dcmtx.place.places import SourcePlace, TargetPlace
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
from dcmtx.transcoding.job import Job, Outcome, job
from dcmtx.transcoding.running import run

if TYPE_CHECKING:
    from typing import Unpack

    from dcmtx.transcoding.options import Options


@overload
def transcode(src: SourcePlace, dst: None = None, *, to: str, **options: Unpack[Options]) -> bytes: ...


@overload
def transcode(src: SourcePlace, dst: TargetPlace, *, to: str, **options: Unpack[Options]) -> Outcome: ...


def transcode(
    src: SourcePlace,
    dst: TargetPlace | None = None,
    *,
    to: str,
    lossy: bool = False,
    quality: int | None = None,
    ratio: float | None = None,
    psnr: float | None = None,
    near: int | None = None,
    subsampling: str | None = None,
    predictor: int | None = None,
    resolutions: int | None = None,
    progression: str | None = None,
    tile: int | None = None,
    code_block: int | None = None,
    tile_parts: str | None = None,
    effort: int | None = None,
    uid: str | Uid = Uid.AUTO,
    offset_table: str | OffsetTable = OffsetTable.AUTO,
    fragment_size: int | None = None,
    overlays: str | Overlays = Overlays.EXTRACT,
    icon: str | Icon = Icon.FOLLOW,
    signatures: str | Signatures = Signatures.REFUSE,
    unused_bits: str | UnusedBits = UnusedBits.REFUSE,
    one_bit: str | OneBit = OneBit.REFUSE,
    word_order: str | WordOrder = WordOrder.REFUSE,
    apply_palette: bool = False,
    photometric: str | None = None,
    planar: int | None = None,
    no_pixels: str | NoPixels = NoPixels.NATIVE,
    remove: str | Removal = Removal.NONE,
    lengths: str | Lengths = Lengths.KEEP,
    charset: str | Charset = Charset.KEEP,
    dataset_only: bool = False,
    assume: str | None = None,
    ignore_errors: bool = False,
    fallback: Iterable[str] = (),
    verify: bool | str | Verify = Verify.SAMPLED,
    cross_check: bool = False,
    skip_lossy: bool = False,
    only_native: bool = False,
    keep_if_larger: bool = False,
    force: bool = False,
    clobber: bool = True,
    sync: str | Sync = Sync.BATCH,
    decoder: str | None = None,
    encoder: str | None = None,
    device: str | Device = Device.CPU,
    workers: int | None = None,
    memory: int | str | None = None,
    site: str | os.PathLike[str] | SitePolicy | None = None,
    dry_run: bool = False,
    digest: bool = False,
) -> Outcome | bytes:
    """Convert the DICOM file `src` to the transfer syntax `to` and write it to `dst`, completely or not at all.

    `src` is a path, `-` for standard input, bytes or another buffer, or a binary file object. A file object is read
    from its current position, and returned to it if it can seek. `dst` is a path, which may be that of `src`, `-` for
    standard output, or a binary file object. A file object is written from its current position, only when the file
    is complete, and is not closed. Returns the Outcome; without `dst`, the bytes of the new file.

    `to` is a family (`jpegls`), an alias (`htj2k-rpcl`), a keyword (`JPEGLSLossless`) or a UID. The other options are
    those of the command line, with the same defaults; `verify` may be True or False too. `workers` is the number of
    frames coded at a time, by default the number of cores that the process may use. `memory` limits all frames in
    progress, in bytes or as text such as "512MiB". With `dry_run`, the outcome has the plan and `dst` is not touched.

    Raises a DcmtxError (InputError, UnsupportedError, RefusedError, CodecError, VerifyError, OutputError, or UsageError
    for invalid options), whose `path` is `src` or `dst`. The destination is then unchanged, unless it is a file object
    that fails during writing.

    >>> import dcmtx
    >>> outcome = dcmtx.transcode("us-rgb-by-pixel.dcm", "us.dcm", to="jpeg", lossy=True, quality=85)
    >>> outcome.syntax_out, outcome.encoder, outcome.ratio > 1
    ('1.2.840.10008.1.2.4.50', 'imagecodecs', True)
    >>> outcome = dcmtx.transcode("us.dcm", "never.dcm", to="explicit", dry_run=True)
    >>> outcome.status.value, outcome.plan.syntax.label, outcome.plan.route.value
    ('planned', 'explicit', 'recode')
    >>> with open("ct-explicit.dcm", "rb") as file:
    ...     small = dcmtx.transcode(file, to="jpegls")
    >>> small[128:132], dcmtx.transcode(small, "raw.dcm", to="explicit").frames
    (b'DICM', 1)
    """
    if dst is None and dry_run:
        raise UsageError("a dry run returns no bytes", advice="give a dst, or ask dcmtx.plan")
    todo = job(
        src,
        dst,
        to=to,
        lossy=lossy,
        quality=quality,
        ratio=ratio,
        psnr=psnr,
        near=near,
        subsampling=subsampling,
        predictor=predictor,
        resolutions=resolutions,
        progression=progression,
        tile=tile,
        code_block=code_block,
        tile_parts=tile_parts,
        effort=effort,
        uid=uid,
        offset_table=offset_table,
        fragment_size=fragment_size,
        overlays=overlays,
        icon=icon,
        signatures=signatures,
        unused_bits=unused_bits,
        one_bit=one_bit,
        word_order=word_order,
        apply_palette=apply_palette,
        photometric=photometric,
        planar=planar,
        no_pixels=no_pixels,
        remove=remove,
        lengths=lengths,
        charset=charset,
        dataset_only=dataset_only,
        assume=assume,
        ignore_errors=ignore_errors,
        fallback=fallback,
        verify=verify,
        cross_check=cross_check,
        skip_lossy=skip_lossy,
        only_native=only_native,
        keep_if_larger=keep_if_larger,
        force=force,
        clobber=clobber,
        sync=sync,
        decoder=decoder,
        encoder=encoder,
        device=device,
        workers=workers,
        memory=memory,
        site=site,
        dry_run=dry_run,
        digest=digest,
    )
    outcome = run(todo)
    return outcome if dst is not None else _bytes(todo, outcome)


def _bytes(job: Job, outcome: Outcome) -> bytes:
    """Return the bytes that were written into memory. Raises RefusedError if the file was skipped."""
    written: bytes | None = job.target.value
    if written is None:
        raise RefusedError(outcome.notes[0].text, code="E_NO_PIXELDATA", path=job.src)
    return written
