"""Mutated files: a fixed few here; `python tests/fuzz.py --count 20000` makes any number."""

from __future__ import annotations

import fuzz
import pytest
from batches import need_proc

# One of each mutation of each file of testdata/ for the first target, and fewer for what decodes no more.
WHOLE = len(fuzz.SEEDS) * len(fuzz.MUTATIONS)

pytestmark = [need_proc, pytest.mark.timeout(600)]


@pytest.mark.parametrize(("target", "numbers"), [("explicit", range(WHOLE)), ("jpegls", range(WHOLE, WHOLE + 120))])
def test_a_damaged_file_is_an_error_or_what_its_header_promises(target: str, numbers: range) -> None:
    counts, faults = fuzz.run(numbers, (target,), "--jobs", "2")
    assert faults == []
    assert sum(counts.values()) == len(numbers)
    # It is the files that are odd, not the tool that refuses all: both must be among them.
    assert counts[target, "converted"] > len(numbers) // 20
    assert counts[target, "E_TRUNCATED"] > 0


def test_a_mutant_is_made_of_its_number_alone() -> None:
    assert fuzz.mutant(77) == fuzz.mutant(77)
    assert fuzz.mutant(77) != fuzz.mutant(77 + WHOLE)
