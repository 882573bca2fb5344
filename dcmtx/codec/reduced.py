"""JPEG 2000 and HTJ2K decoded at a lower resolution, which takes a fraction of the time (T.800 B.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def decode(data: bytes, halvings: int) -> NDArray[Any] | None:
    """Return a frame, halved so many times, colour by pixel; None where the library at hand cannot.

    OpenJPEG decodes both: OpenJPH, which can do this in every release, lets values out of range wrap around.
    """
    import imagecodecs

    # The stubs of no release have this argument.
    function: Any = imagecodecs.jpeg2k_decode
    try:
        frame: NDArray[Any] = function(data, planar=False, numthreads=1, skipres=halvings)
    except TypeError:
        # Older releases have no such argument.
        return None
    return frame
