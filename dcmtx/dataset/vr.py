"""Value representations (PS3.5 6.2): the list, the width of their length fields, and the units of byte swapping."""

from __future__ import annotations

# PS3.5 7.1.2: these value representations have two reserved bytes and a 32-bit length.
LONG_VRS = frozenset([b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"])
SHORT_VRS = frozenset(
    [b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
     b"ST", b"TM", b"UI", b"UL", b"US"]
)  # fmt: skip
# The longest value of these: lengths are even, and have 16 bits.
LARGEST_SHORT = 0xFFFE
VRS = LONG_VRS | SHORT_VRS

# PS3.5 6.2 and 7.3: how many bytes form one number, which is swapped in another byte order.
SWAP_UNIT: dict[bytes, int] = {
    b"AT": 2, b"OW": 2, b"SS": 2, b"US": 2,
    b"FL": 4, b"OF": 4, b"OL": 4, b"SL": 4, b"UL": 4,
    b"FD": 8, b"OD": 8, b"OV": 8, b"SV": 8, b"UV": 8,
}  # fmt: skip
