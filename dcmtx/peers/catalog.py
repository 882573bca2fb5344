"""The peers, and the modules of their tables."""

from __future__ import annotations

import importlib

from dcmtx.peers.table import Peer

# Peer to the module of its table, which is loaded on demand.
MODULES = {
    "gdcmconv": "gdcm",
    "dcmconv": "dcmconv",
    "dcmcjpeg": "dcmtk",
    "dcmdjpeg": "dcmtk",
    "dcmcjpls": "dcmtk",
    "dcmdjpls": "dcmtk",
    "dcmcrle": "dcmtk",
    "dcmdrle": "dcmtk",
    "dcm2dcm": "java",
    "dicom-transcode": "rust",
}


def load(name: str) -> Peer:
    """Return the table of a peer."""
    module = importlib.import_module(f"dcmtx.peers.{MODULES[name]}")
    found: Peer = next(peer for peer in module.PEERS if peer.name == name)
    return found
