"""TIFF, for values that PNG does not hold; no transfer syntax has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcmtx.errors import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode(image: NDArray[Any], *, least_is_white: bool = False) -> bytes:
    """Return grey (rows, columns) or RGB (rows, columns, 3) of any whole numbers as an uncompressed TIFF file.

    Raises UnsupportedError, E_BACKEND, without tifffile.
    """
    import io

    try:
        import tifffile
    except ImportError:
        raise UnsupportedError(
            "TIFF is written by tifffile, which is not installed", code="E_BACKEND", advice="pip install dcmtx[tiff]"
        ) from None
    out = io.BytesIO()
    kind = "rgb" if image.ndim == 3 else "miniswhite" if least_is_white else "minisblack"
    tifffile.imwrite(out, image, photometric=kind, metadata=None, software="dcmtx")
    return out.getvalue()
