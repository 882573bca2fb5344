"""PNG, for pictures to look at; no transfer syntax has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode(image: NDArray[Any]) -> bytes:
    """Return grey (rows, columns) or RGB (rows, columns, 3) of 8 or 16 bits as a PNG file."""
    import imagecodecs
    import numpy as np

    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image)))
