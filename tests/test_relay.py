"""The relay between real peers on loopback: what was acknowledged arrives, with the same pixels."""

from __future__ import annotations

import dicom
import numpy as np
from relays import RelayProcess, StoreScp, pixels, read, storescu, write_instances


def test_instances_go_through_untouched(tmp_path):
    files = write_instances(tmp_path / "in", range(5))
    with StoreScp(tmp_path / "out", "+xa") as destination, RelayProcess({"address": destination.address}) as relay:
        assert storescu(relay.port, files).returncode == 0
        arrived = destination.until(5)
        relay.until_empty()
        for number, path in enumerate(files):
            there = arrived[f"1.2.3.{number}"]
            assert dicom.walk(there.read_bytes()).elements == dicom.walk(path.read_bytes()).elements
        assert relay.end() == 0
        assert not relay.leftovers()


def test_instances_are_transcoded_to_what_the_destination_prefers(tmp_path):
    files = write_instances(tmp_path / "in", range(5))
    with (
        StoreScp(tmp_path / "out", "+xa") as destination,
        RelayProcess({"address": destination.address, "prefer": ["jpegls"]}) as relay,
    ):
        assert storescu(relay.port, files).returncode == 0
        arrived = destination.until(5)
        relay.until_empty()
        for number, path in enumerate(files):
            there = arrived[f"1.2.3.{number}"]
            assert read(there)[1] == dicom.JPEGLS
            assert np.array_equal(pixels(there), pixels(path))
        assert relay.end() == 0
        assert not relay.leftovers()
