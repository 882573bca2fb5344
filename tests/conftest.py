"""What all tests share: where files are, and which tools there are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Real images that are not part of the project; tests that need them skip where they are absent.
REAL = Path(os.environ.get("DCMTX_REAL_DATA", ROOT.parent / "shared" / "data"))
IN_CI = bool(os.environ.get("CI"))


def need_tool(name: str) -> str:
    """Return the path of a program, or skip the test, naming it; in CI its absence is a failure."""
    path = shutil.which(name)
    if path is None:
        if IN_CI:
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return path


def need_real(name: str) -> Path:
    """Return the path of a real image, or skip the test."""
    path = REAL / name
    if not path.exists():
        pytest.skip(f"real image {name} is not here")
    return path
