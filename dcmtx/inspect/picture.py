"""Two frames and their difference side by side, as a PNG file."""

from __future__ import annotations

import io
import os
from typing import Any

from dcmtx.errors import UnsupportedError, UsageError
from dcmtx.inspect.compare import Comparison, comparable
from dcmtx.inspect.opened import Pixels
from dcmtx.inspect.render import picture
from dcmtx.place.places import SourcePlace

# Pixels of the longer side of the frames. Of the difference, fewer than the panel has, so that none is skipped.
_SIDE, _CELLS = 1024, 512
_INCHES, _DOTS = 5.0, 130


def side_by_side(one: SourcePlace, other: SourcePlace, comparison: Comparison, frame: int | None = None) -> bytes:
    """Return a picture of one frame (0-based) of two files, by default the one that differs most, and its difference.

    Both frames are shown as their own file says, or where it does not over the range of the first. The difference
    (second minus first) has a scale of values; of colours it is that of the sample that differs most. Of a large frame
    each place shows the largest difference there.

    Raises UnsupportedError where matplotlib is missing, UsageError for frames that cannot be compared.
    """
    if comparison.reason:
        raise UsageError(f"there is no picture of frames that cannot be compared ({comparison.reason})")
    figure = _figure()
    number = comparison.worst if frame is None else frame
    with Pixels(one) as left, Pixels(other) as right:
        if left.decoder is None:
            raise UsageError("there is no picture of files without pixels")
        from dcmtx.pixel.display import strongest_change

        images = [picture(side, number, size=_SIDE, like=left) for side in (left, right)]
        one_frame, other_frame = comparable(left, right, left.words(number), right.words(number))
        error = strongest_change(one_frame, other_frame, _CELLS)
        rows, columns = one_frame.shape[:2]
    panels = figure.subplots(1, 3)
    edges = (0.5, columns + 0.5, rows + 0.5, 0.5)
    for panel, image, path in zip(panels, images, (comparison.one, comparison.other), strict=False):
        panel.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0, vmax=255, extent=edges)
        panel.set_title(_name(path), fontsize=9)
    largest = max(int(abs(error).max()), 1)
    shown = panels[2].imshow(error, cmap="RdBu_r", vmin=-largest, vmax=largest, extent=edges, interpolation="nearest")
    panels[2].set_title(_caption(comparison, number), fontsize=9)
    for panel in panels:
        panel.tick_params(labelsize=7)
    scale = figure.colorbar(shown, ax=panels[2], shrink=0.8)
    scale.set_label("second minus first", fontsize=8)
    scale.ax.tick_params(labelsize=7)
    return _png(figure)


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UnsupportedError(
            "a picture needs matplotlib, which is not installed", advice="pip install 'dcmtx[plot]'", code="E_EXTRA"
        ) from None
    return Figure(figsize=(3 * _INCHES, _INCHES), dpi=_DOTS, layout="constrained")


def _png(figure: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(buffer)
    return buffer.getvalue()


def _name(path: str) -> str:
    """Return the name of a file as matplotlib shows it: a dollar would begin a formula."""
    name = os.path.basename(path).encode("utf-8", "backslashreplace").decode()
    return "".join(sign if sign.isprintable() else "?" for sign in name).replace("$", r"\$")


def _caption(comparison: Comparison, number: int) -> str:
    found = next((one for one in comparison.differences if one.frame == number), None)
    of = f"frame {number + 1} of {comparison.frames}: "
    if found is None:
        return f"{of}equal"
    ssim = "" if found.measured.ssim is None else f", SSIM {found.measured.ssim:.4f}"
    return f"{of}largest error {found.measured.largest}, PSNR {found.psnr:.2f} dB{ssim}"
