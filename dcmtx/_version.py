"""The version of dcmtx, written once."""

__version__ = "0.1.0"
