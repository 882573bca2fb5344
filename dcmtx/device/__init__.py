"""Accelerators: one process owns each of them, and all others send it their frames."""
