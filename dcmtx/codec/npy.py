"""NPY, for arrays that NumPy loads; no transfer syntax has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode(words: NDArray[Any]) -> bytes:
    """Return an array as the contents of an NPY file."""
    import io

    import numpy as np

    out = io.BytesIO()
    np.save(out, words, allow_pickle=False)
    return out.getvalue()
