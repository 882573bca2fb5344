"""A job as JSON: what is read is what was written, and nothing that makes no sense is read."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dcmtx
from dcmtx.errors import DcmtxError, RefusedError, UsageError
from dcmtx.policy import Icon, NoPixels, OffsetTable, OneBit, Overlays, Signatures, Uid, UnusedBits, WordOrder
from dcmtx.transcoding.job import job
from dcmtx.transcoding.running import run

JOBS: dict[str, dict[str, Any]] = {
    "the least": {"to": "rle"},
    "raw": {"to": "raw"},
    "a family with loss": {"to": "jpeg", "lossy": True, "quality": 80, "subsampling": "420"},
    "an alias": {"to": "htj2k-rpcl", "resolutions": 4, "code_block": 32},
    "a keyword": {"to": "JPEGLSLossless"},
    "a UID": {"to": "1.2.840.10008.1.2.5"},
    "a ratio": {"to": "j2k", "lossy": True, "ratio": 12.5, "resolutions": 5},
    "tiles": {"to": "htj2k", "tile": 512, "progression": "RPCL"},
    "a whole ratio": {"to": "j2k", "lossy": True, "ratio": 12},
    "a PSNR": {"to": "htj2k", "lossy": True, "psnr": 60.25},
    "fallbacks": {"to": "jpegls", "fallback": ["rle", "deflated"], "near": 0, "lossy": True},
    "every choice": {
        "to": "rle", "uid": "new", "offset_table": "extended", "overlays": "refuse", "icon": "drop",
        "signatures": "remove", "unused_bits": "clear", "one_bit": "allow", "word_order": "64", "no_pixels": "fail",
        "verify": False, "force": True, "clobber": False, "decoder": "imagecodecs", "encoder": "dcmtx",
        "workers": 3, "memory": "1GiB", "dry_run": True, "digest": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("options", JOBS.values(), ids=JOBS.keys())
def test_what_is_read_is_what_was_written(options: dict[str, Any]) -> None:
    one = job("in.dcm", "out.dcm", **options)
    text = one.to_json()
    assert "\n" not in text
    assert dcmtx.job_from_json(text) == one
    assert dcmtx.job_from_json(text.encode()) == one
    assert dcmtx.job_from_json(dcmtx.job_from_json(text).to_json()) == one


def choices(kind: Any) -> Any:
    return st.sampled_from(kind)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    src=st.text(min_size=1), dst=st.text(min_size=1), uid=choices(Uid), table=choices(OffsetTable),
    overlays=choices(Overlays), icon=choices(Icon), signatures=choices(Signatures), unused=choices(UnusedBits),
    one_bit=choices(OneBit), order=choices(WordOrder), no_pixels=choices(NoPixels), workers=st.integers(1, 500),
    memory=st.integers(1, 1 << 60), parents=st.booleans(), brief=st.booleans(),
)  # fmt: skip
def test_any_job_is_read_again(
    src: str, dst: str, uid: Uid, table: OffsetTable, overlays: Overlays, icon: Icon, signatures: Signatures,
    unused: UnusedBits, one_bit: OneBit, order: WordOrder, no_pixels: NoPixels, workers: int, memory: int,
    *, parents: bool, brief: bool,
) -> None:  # fmt: skip
    one = job(
        "in", "out", to="rle", uid=uid, offset_table=table, overlays=overlays, icon=icon, signatures=signatures,
        unused_bits=unused, one_bit=one_bit, word_order=order, no_pixels=no_pixels, workers=workers, memory=memory,
    ).replace(src=src, dst=dst, parents=parents, brief=brief)  # fmt: skip
    assert dcmtx.job_from_json(one.to_json()) == one


def test_a_name_that_is_no_unicode_is_kept() -> None:
    one = job(os.fsdecode(b"\xff\xfe.dcm"), "out.dcm", to="rle")
    again = dcmtx.job_from_json(one.to_json().encode("ascii"))
    assert os.fsencode(again.src) == b"\xff\xfe.dcm"


# Written once, to be read by every later dcmtx.
FIRST = """
{"version": 1, "src": "in.dcm", "dst": "out.dcm", "request": {"target": {"name": "jpegls", "syntaxes":
["1.2.840.10008.1.2.4.80"], "raw": false}, "policy": {"offset_table": "basic", "created": 12.5}}, "workers": 2}
"""


def test_the_first_version_is_read_and_done(tmp_path: Path) -> None:
    one = dcmtx.job_from_json(FIRST)
    policy = one.request.policy
    assert (one.src, one.dst, one.workers, policy.created) == ("in.dcm", "out.dcm", 2, 12.5)
    assert policy.offset_table is OffsetTable.BASIC
    expected = job("in.dcm", "out.dcm", to="jpegls", offset_table="basic", workers=2)
    assert one == expected.replace(
        request=expected.request.replace(policy=expected.request.policy.replace(created=12.5))
    )
    root = Path(__file__).parent.parent / "testdata" / "ct-explicit.dcm"
    outcome = run(one.replace(src=str(root), dst=str(tmp_path / "out.dcm")))
    assert outcome.syntax_out == "1.2.840.10008.1.2.4.80"


def changed(**changes: Any) -> str:
    """The first form with changes: fields by their path, `__` between its words; `...` leaves one out."""
    form = json.loads(FIRST)
    for path, value in changes.items():
        *above, last = path.split("__")
        place = form
        for name in above:
            place = place.setdefault(name, {})
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return json.dumps(form)


WRONG: dict[str, tuple[str, str]] = {
    "no JSON": ("{", "not JSON"),
    "too deep": ("[" * 100_000, "not JSON"),
    "a list": ("[]", "not an object"),
    "no version": (changed(version=...), "version None"),
    "a later version": (changed(version=2), "version 2"),
    "true for a version": (changed(version=True), "version True"),
    "an unknown field": (changed(colour="red"), "job has no colour"),
    "an unknown field below": (changed(request__policy__colour="red"), r"job\.request\.policy has no colour"),
    "no source": (changed(src=...), "needs 'src'"),
    "no target": (changed(request__target=...), "needs 'target'"),
    "a place of another process": (changed(source="x"), "job has no source"),
    "a number for a path": (changed(src=1), r"job\.src is 1, not of type str"),
    "text for a number": (changed(workers="2"), r"job\.workers is '2', not of type int"),
    "a truth for a number": (changed(workers=True), r"job\.workers is True"),
    "a number for a truth": (changed(dry_run=1), r"job\.dry_run is 1"),
    "a broken number": (changed(workers=1.5), r"job\.workers is 1\.5"),
    "no workers": (changed(workers=0), "workers is 0"),
    "no memory": (changed(memory=-1), "memory is -1"),
    "no such choice": (changed(request__policy__uid="old"), "'old', not one of auto, keep, new"),
    "no such syntax": (changed(request__target__syntaxes=["1.2.3"]), "not the UID of a transfer syntax"),
    "text for a list": (changed(request__target__syntaxes="1.2.3"), "not a list"),
    "no such target": (changed(request__target__name="nothing"), "no transfer syntax 'nothing'"),
    "no such decoder": (changed(request__backend={"decoder": "nobody"}), "no decoder 'nobody'"),
    "no object": (changed(request__policy=[]), "not an object"),
    "null": (changed(src=None), "is None"),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_job(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        dcmtx.job_from_json(text)


def test_what_it_asks_for_is_checked_as_options_are() -> None:
    field = next(name for name, value in job("a", "b", to="rle").request.items() if hasattr(value, "psnr"))
    for values, kind in (({"tile": 1}, UsageError), ({"near": 2}, RefusedError)):
        form = json.loads(FIRST)
        form["request"][field] = values
        with pytest.raises(DcmtxError) as caught:
            dcmtx.job_from_json(json.dumps(form))
        assert type(caught.value) is kind


@pytest.mark.parametrize("places", [(b"bytes", "out.dcm"), ("in.dcm", io.BytesIO()), ("in.dcm", None)])
def test_a_job_in_memory_has_no_form(places: tuple[Any, Any]) -> None:
    with pytest.raises(UsageError, match="no JSON form"):
        job(*places, to="rle").to_json()
