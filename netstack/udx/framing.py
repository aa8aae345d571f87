"""Runs on the wire: the headers of many packets written and read at once, by loops of C instead of Python's.

A full run is about fifty packets that differ in sequence number and payload alone.  This costs a few tenths of a
microsecond a packet; packing header by header costs several times that, too much at 70,000 packets a second.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain, repeat
from struct import Struct
from typing import NamedTuple

from netstack.udx.packet import ACK, DATA, HEADER, HEADER_SIZE, MAGIC, VERSION

BLOCK = 64  # packets that are read in one go; also the most that UDP_SEGMENT sends
_MASK = 0xFFFF_FFFF
_PREFIX = Struct("<BBBBII")  # a header up to its window
_WORD = Struct("<I")
_PLAIN = {bytes([MAGIC, VERSION, bits, 0]): bits for bits in (ACK, DATA)}


class Columns(NamedTuple):
    """Headers and payloads of packets of one size and one stream, all plain DATA or all plain ACK, field by field."""

    bits: int
    stream: int
    windows: tuple[int, ...]
    seqs: tuple[int, ...]
    acks: tuple[int, ...]
    payloads: tuple[bytes, ...]


def encode_run(stream: int, window: int, seq: int, ack: int, payload: memoryview, size: int, last_bits: int) -> bytes:
    """DATA packets numbered from `seq` on: `payload` cut every `size` bytes.

    `last_bits` are the type bits of the last one, which is the only one that may be shorter, and may be empty.
    """
    whole, rest = divmod(len(payload), size)
    if last_bits != DATA or rest:
        plain = whole - 1 if not rest and last_bits & DATA else whole
        at = plain * size
        last = HEADER.pack(MAGIC, VERSION, last_bits, 0, stream, window, (seq + plain) & _MASK, ack & _MASK)
        tail = last + payload[at:].tobytes()
        if not plain:
            return tail
    else:
        plain, tail = whole, b""
    first = seq & _MASK
    numbers = range(first, first + plain)
    if first + plain > _MASK:
        numbers = [number & _MASK for number in numbers]  # type: ignore[assignment]
    words, pieces = _cutters(plain, size)
    parts = zip(
        repeat(_PREFIX.pack(MAGIC, VERSION, DATA, 0, stream, window)),
        words.unpack(_words(plain).pack(*numbers)),
        repeat(_WORD.pack(ack & _MASK)),
        pieces.unpack_from(payload),
        strict=False,
    )
    return b"".join(chain(chain.from_iterable(parts), (tail,)))


def decode_run(data: memoryview, segment: int, count: int) -> Columns | None:
    """The first `count` packets of `segment` bytes in `data`; None unless all are plain and of one kind and stream."""
    flat = _columns(segment, count).unpack_from(data)
    names = flat[::5]
    first = names[0]
    bits = _PLAIN.get(first[:4])
    if bits is None or names.count(first) != count:
        return None
    return Columns(bits, int.from_bytes(first[4:], "little"), flat[1::5], flat[2::5], flat[3::5], flat[4::5])


@lru_cache(maxsize=512)
def _columns(segment: int, count: int) -> Struct:
    """(type bits and stream id, window, seq, ack, payload) of every packet."""
    return Struct("<" + f"8sIII{segment - HEADER_SIZE}s" * count)


@lru_cache(maxsize=128)
def _words(count: int) -> Struct:
    return Struct(f"<{count}I")


@lru_cache(maxsize=512)
def _cutters(count: int, size: int) -> tuple[Struct, Struct]:
    return Struct("4s" * count), Struct(f"{size}s" * count)
