"""`dcmtx index`."""

from __future__ import annotations

import json

import click

from dcmtx.cli import SETTINGS
from dcmtx.errors import ExitStatus


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("file", metavar="FILE")
@click.option("--compact", is_flag=True, help="One line, without spaces.")
def index(file: str, compact: bool) -> int:
    """Say where in a file each frame is, and each resolution, as JSON.

    It is for readers that fetch ranges of bytes, from a web server or an object store. Only headers are read. FILE may
    be `-`, or in a store or on a web server itself.

    `frames` has an object for each frame: `frame`, counted from 1, and `ranges`, a list of [offset, length] in the
    file. The bytes of all ranges, in order, are the codestream, maybe with a pad byte, or the uncompressed pixels.
    `first_bit` is there where a frame of 1-bit pixels begins within a byte; 0 is the least significant bit.

    `resolutions` is there for HTJ2K and JPEG 2000 with a tile-part for each resolution and TLM, as `dcmtx convert --to
    htj2k-rpcl` writes them: from the coarsest to the finest, how often the sides are halved (`reduce`), `rows`,
    `columns` and `ranges`. A decoder gets the bytes of these ranges and, behind them, FF D9, which ends a codestream.

    The rest is what a decoder wants to know: `path`, `size` of the file, `transfer_syntax`, `sop_instance_uid`, `rows`,
    `columns`, `samples_per_pixel`, `photometric_interpretation`, `bits_allocated`, `bits_stored`,
    `pixel_representation` and `planar_configuration`.

    \b
    dcmtx index slide.dcm > slide.json
    curl -r 1024-5119 https://example.org/slide.dcm
    """
    from dcmtx.inspect.ranges import index as indexed

    found = indexed(file).as_json()
    click.echo(json.dumps(found, separators=(",", ":")) if compact else _text(found))
    return ExitStatus.OK


def _text(found: dict[str, object]) -> str:
    """Return JSON with a line for each frame and resolution, which indentation by the library has not."""
    frames = found["frames"]
    assert isinstance(frames, list)
    head = [f"  {json.dumps(name)}: {json.dumps(value)}," for name, value in found.items() if name != "frames"]
    rows = []
    for frame in frames:
        resolutions = frame.pop("resolutions", None)
        text = json.dumps(frame)
        if resolutions:
            lines = ",\n      ".join(json.dumps(one) for one in resolutions)
            text = f'{text[:-1]}, "resolutions": [\n      {lines}\n    ]}}'
        rows.append(f"    {text}")
    body = ",\n".join(rows)
    return "\n".join(["{", *head, f'  "frames": [\n{body}\n  ]', "}"])
