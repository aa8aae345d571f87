"""The UDX packet codec: fixed bytes, round trips, and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.errors import DecodeError
from netstack.udx.packet import (
    DATA,
    HEADER_SIZE,
    MAX_SACKS,
    SACK,
    Header,
    Kind,
    decode_header,
    decode_sacks,
    demultiplex,
    encode_header,
    encode_sacks,
    split_body,
    stream_id,
    unwrap,
)

u8 = st.integers(0, 2**8 - 1)
u32 = st.integers(0, 2**32 - 1)
headers = st.builds(Header, u8, u8, u32, u32, u32, u32)


def test_header_is_twenty_little_endian_bytes() -> None:
    packet = encode_header(DATA, stream=0x01020304, window=4 << 20, seq=7, ack=0x1_0000_0002)
    assert packet.hex(" ", 4) == "ff010100 04030201 00004000 07000000 02000000"
    assert decode_header(packet) == Header(DATA, 0, 0x01020304, 4 << 20, 7, 2)
    assert stream_id(packet) == 0x01020304


@given(headers)
def test_headers_round_trip(header: Header) -> None:
    packet = encode_header(header.bits, header.stream, header.window, header.seq, header.ack, header.offset)
    assert decode_header(packet) == header


@given(st.binary(max_size=64))
def test_any_bytes_decode_to_a_header_or_are_refused(data: bytes) -> None:
    try:
        header = decode_header(data)
        area, payload = split_body(header, memoryview(data)[HEADER_SIZE:])
    except DecodeError:
        return
    assert HEADER_SIZE + len(area) + len(payload) <= len(data)
    assert len(decode_sacks(area)) <= MAX_SACKS


@given(st.lists(st.tuples(u32, u32), max_size=200))
def test_sacks_round_trip_up_to_the_most_a_packet_holds(ranges: list[tuple[int, int]]) -> None:
    area = encode_sacks(ranges)
    assert decode_sacks(area) == ranges[:MAX_SACKS]
    assert decode_sacks(area + b"odd") == ranges[:MAX_SACKS]
    assert HEADER_SIZE + len(area) <= 1152


@pytest.mark.parametrize(
    ("bits", "offset", "body", "parts"),
    [
        (DATA, 0, b"payload", (b"", b"payload")),
        (DATA, 3, b"\0\0\0payload", (b"", b"payload")),  # an MTU probe's padding
        (SACK, 0, b"12345678", (b"12345678", b"")),
        (SACK | DATA, 8, b"12345678payload", (b"12345678", b"payload")),
        (SACK, 8, b"12345678", (b"12345678", b"")),
    ],
)
def test_data_offset_splits_the_body_into_sacks_and_payload(
    bits: int, offset: int, body: bytes, parts: tuple[bytes, bytes]
) -> None:
    area, payload = split_body(Header(bits, offset, 1, 0, 0, 0), memoryview(body))
    assert (bytes(area), bytes(payload)) == parts


def test_data_offset_beyond_the_packet_is_refused() -> None:
    with pytest.raises(DecodeError):
        split_body(Header(DATA, 8, 1, 0, 0, 0), memoryview(b"short"))


@given(st.integers(0, 2**40), st.integers(-(2**31), 2**31 - 1))
def test_wire_number_unwraps_to_the_nearest_unbounded_number(near: int, difference: int) -> None:
    assert unwrap((near + difference) & 0xFFFF_FFFF, near) == near + difference


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\xff" + bytes(19), Kind.UDX),
        (b"\x03\x00", Kind.REQUEST),
        (b"\x13\x00", Kind.RESPONSE),
        (b"\x00", Kind.PROBE),
        (b"\x00\x00", Kind.UNKNOWN),
        (b"", Kind.UNKNOWN),
        (b"\x23", Kind.UNKNOWN),
    ],
)
def test_first_byte_decides_the_protocol_of_a_datagram(data: bytes, kind: Kind) -> None:
    assert demultiplex(data) is kind
