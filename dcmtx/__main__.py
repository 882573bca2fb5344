"""`python -m dcmtx`."""

from __future__ import annotations

from dcmtx.cli import main

if __name__ == "__main__":
    main()
