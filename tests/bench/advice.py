"""Make the table of lossless codecs in README.md: `python tests/bench/advice.py SRC... [--files N]`, printed.

It is `dcmtx advise` over real images, condensed: a line for each target, a column for each modality with enough of
them. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import sys

from dcmtx.inspect.advice import TARGETS, Row, advise
from dcmtx.inspect.isolated import prepare


def table(rows: list[Row], modalities: list[str]) -> str:
    """Return the table as Markdown: ratio, then encoding and decoding speed in MB/s."""
    found = {(row.modality, row.target): row for row in rows}
    files = {name: max(row.files + row.refused for row in rows if row.modality == name) for name in modalities}
    lines = [
        "| | " + " | ".join(f"{name} ({files[name]} files)" for name in modalities) + " |",
        "|---|" + "---|" * len(modalities),
    ]
    for target in TARGETS:
        cells = [_cell(found.get((name, target))) for name in modalities]
        lines.append(f"| `{target}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None or row.ratio is None:
        return "-"
    some = f" (not {row.refused} of them)" if row.refused else ""
    return f"{row.ratio:.2f}; {row.encode:.0f}, {row.decode:.0f}{some}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--files", type=int, default=6)
    parser.add_argument("--modalities", default="CT,MR,CR,US")
    given = parser.parse_args()
    prepare()
    found = advise(given.sources, files=given.files)
    there = {row.modality for row in found.rows}
    modalities = [name for name in given.modalities.split(",") if name in there]
    sys.stdout.write(table(list(found.rows), modalities) + "\n")
    sys.stderr.write(f"{found.measured} of {found.found} files; left out: {found.left_out}\n")


if __name__ == "__main__":
    main()
