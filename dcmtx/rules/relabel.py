"""Which codestreams are legal under another transfer syntax than theirs, just as they are.

A pair of syntaxes is a row: what the codestream must be so that the second may name it. Pairs without a row hold
different codestreams.
"""

from __future__ import annotations

from collections.abc import Callable

from dcmtx.pixel.codestream import Codestream
from dcmtx.syntax import ROOT, Syntax

_SOF0, _SOF3 = 0xC0, 0xC3
_RPCL = 2
# The longest side of the lowest resolution (PS3.5 10.18).
_LOWEST_RESOLUTION = 64

# Each returns why not, or an empty string.
Test = Callable[[Codestream], str]


def _any(_stream: Codestream) -> str:
    return ""


def _reversible(stream: Codestream) -> str:
    return "" if stream.reversible else "it is irreversible"


def _predictor_1(stream: Codestream) -> str:
    """Process 14, selection value 1 (PS3.5 A.4.1)."""
    if stream.process != _SOF3:
        return "it is no lossless Huffman process (SOF3)"
    return "" if stream.predictor == 1 else f"its predictor is {stream.predictor}, not 1"


def _baseline(stream: Codestream) -> str:
    """Process 1 (T.81 4.11)."""
    if stream.process != _SOF0 or stream.precision != 8:
        return "it is not the baseline process (SOF0, 8 bits)"
    return ""


def _rpcl(stream: Codestream) -> str:
    """RPCL, TLM and a small lowest resolution, reversible (PS3.5 10.18)."""
    lowest = -(-max(stream.rows, stream.columns) >> stream.levels)
    if not stream.reversible:
        return "it is irreversible"
    if stream.progression != _RPCL:
        return "its progression is not RPCL"
    if not stream.tile_lengths:
        return "it has no TLM marker segments"
    return "" if lowest <= _LOWEST_RESOLUTION else f"its lowest resolution has {lowest} samples, more than 64"


_TESTS: dict[tuple[str, str], Test] = {
    ("50", "51"): _any,
    ("51", "50"): _baseline,
    ("57", "70"): _predictor_1,
    ("70", "57"): _any,
    ("80", "81"): _any,
    ("81", "80"): _reversible,
    ("90", "91"): _any,
    ("91", "90"): _reversible,
    ("110", "112"): _any,
    ("112", "110"): _reversible,
    ("201", "202"): _rpcl,
    ("201", "203"): _any,
    ("202", "201"): _any,
    ("202", "203"): _any,
    ("203", "201"): _reversible,
    ("203", "202"): _rpcl,
}
RELABELS: dict[tuple[str, str], Test] = {
    (f"{ROOT}.4.{old}", f"{ROOT}.4.{new}"): test for (old, new), test in _TESTS.items()
}


def targets(syntax: Syntax) -> list[str]:
    """Return the UIDs of the syntaxes that may name codestreams of this one."""
    return [new for old, new in RELABELS if old == syntax.uid]


def objection(source: Syntax, target: Syntax, stream: Codestream) -> str:
    """Return why a codestream of `source` may not be called `target`, or an empty string if it may."""
    return RELABELS[source.uid, target.uid](stream)
