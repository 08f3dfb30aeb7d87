"""Hand-made frames: their bytes, and that they get through where routing would not let them."""

from __future__ import annotations

import pytest

from clawkeep.measure.probes.frames import ACK, ETHERTYPE, RST, SYN, Hop, Syn, _match, checksum, read_segment, segment

HOP = Hop("eth0", b"\2" * 6, b"\4" * 6, "203.0.113.50", True)


def framed(packet: bytes) -> bytes:
    return b"\0" * 12 + ETHERTYPE[packet[0] >> 4].to_bytes(2, "big") + packet


@pytest.mark.parametrize(("source", "target"), [("203.0.113.50", "127.0.0.1"), ("2001:db8::50", "2001:db8::2")])
def test_a_segment_is_read_back_as_it_was_made(source: str, target: str) -> None:
    packet = segment(source, target, (40000, 18789), 7, SYN)
    assert read_segment(framed(packet)) == (source, 40000, 18789, SYN, 0)


def test_the_checksums_are_right() -> None:
    packet = segment("203.0.113.50", "127.0.0.1", (40000, 18789), 7, SYN)
    assert checksum(packet[:20]) == 0
    pseudo = packet[12:20] + bytes((0, 6)) + (len(packet) - 20).to_bytes(2, "big")
    assert checksum(pseudo + packet[20:]) == 0


@pytest.mark.parametrize(
    "frame",
    [b"", b"\0" * 13, b"\0" * 60, framed(segment("1.2.3.4", "5.6.7.8", (1, 2), 0, SYN))[:40]],
    ids=["nothing", "no-ethernet", "zeroes", "half"],
)
def test_what_is_cut_short_is_no_segment(frame: bytes) -> None:
    assert read_segment(frame) is None


@pytest.mark.parametrize(
    ("flags", "acknowledged", "source", "outcome"),
    [
        (SYN | ACK, 8, "127.0.0.1", "answered"),
        (RST | ACK, 8, "127.0.0.1", "reset"),
        (ACK, 8, "127.0.0.1", ""),
        (SYN | ACK, 9, "127.0.0.1", ""),  # an answer to somebody else's number
        (SYN | ACK, 8, "127.0.0.2", ""),
    ],
)
def test_only_the_answer_to_our_own_segment_counts(flags: int, acknowledged: int, source: str, outcome: str) -> None:
    packet = bytearray(segment(source, "203.0.113.50", (18789, 40000), 0, flags))
    packet[28:32] = acknowledged.to_bytes(4, "big")
    assert _match(framed(bytes(packet)), [Syn("127.0.0.1", 18789, HOP)], 40000, [7]) == (0, outcome)
