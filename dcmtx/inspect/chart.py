"""The table of `dcmtx advise` as a picture: ratio against speed, one mark for each codec and modality."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from dcmtx.errors import UnsupportedError
from dcmtx.inspect.advice import Row

_MARKS = "osD^vP*Xh<>p"
# Okabe and Ito's colours, which people with any colour vision tell apart, and a grey.
_COLOURS = ("#0072B2", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#999999", "#B8860B")
_INCHES, _DOTS = (11.0, 5.2), 130


def chart(rows: Sequence[Row], form: str) -> bytes:
    """Return the picture as a PNG or SVG file, as `form` says.

    Raises UnsupportedError without matplotlib.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
    except ImportError:
        raise UnsupportedError(
            "pictures are drawn by matplotlib, which is not installed",
            code="E_BACKEND",
            advice="pip install dcmtx[plot]",
        ) from None
    figure = Figure(figsize=_INCHES, dpi=_DOTS, layout="constrained")
    targets = list(dict.fromkeys(row.target for row in rows))
    modalities = list(dict.fromkeys(row.modality for row in rows if row.ratio is not None))
    colours = {target: _COLOURS[number % len(_COLOURS)] for number, target in enumerate(targets)}
    marks = {modality: _MARKS[number % len(_MARKS)] for number, modality in enumerate(modalities)}
    panels = figure.subplots(1, 2, sharey=True)
    for panel, way in zip(panels, ("encode", "decode"), strict=True):
        for row in rows:
            speed = getattr(row, way)
            if row.ratio is not None and speed is not None:
                panel.plot(
                    speed, row.ratio, marks[row.modality], color=colours[row.target], markersize=8, alpha=0.85,
                    markeredgecolor="white", markeredgewidth=0.6,
                )  # fmt: skip
        panel.set_xscale("log")
        panel.set_xlabel(f"{way}: MB/s of uncompressed pixels, one core")
        panel.xaxis.set_major_formatter(_plain)
        panel.grid(visible=True, which="both", color="#e4e4e4", linewidth=0.6)
        panel.set_axisbelow(True)
    panels[0].set_yscale("log")
    panels[0].set_ylabel("compression ratio (higher is smaller)")
    panels[0].yaxis.set_major_formatter(_plain)
    panels[0].yaxis.set_minor_formatter(_plain)
    keys: list[Any] = [Line2D([], [], color=colours[one], marker="o", linestyle="", label=one) for one in targets]
    keys.append(Line2D([], [], linestyle="", label=""))
    keys += [Line2D([], [], color="#444444", marker=marks[one], linestyle="", label=one) for one in modalities]
    figure.legend(handles=keys, loc="outside right upper", fontsize=8, frameon=False)
    out = io.BytesIO()
    # Without a date, and with names that do not change, the same figures give the same file.
    with rc_context({"svg.hashsalt": "dcmtx"}):
        figure.savefig(out, format=form, metadata={"Date": None} if form == "svg" else {"Software": None})
    return out.getvalue()


def _plain(value: float, _: int) -> str:
    return f"{value:g}"
