"""From received batches to streams: which packets of a run belong to whom, parsed by the run and not by the packet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from struct import Struct

from netstack.udp import Datagram
from netstack.udx.packet import ACK, DATA, HEADER_SIZE, MAGIC, VERSION, stream_id
from netstack.udx.stream import UdxStream

_PLAIN = {bytes([MAGIC, VERSION, bits, 0]): bits for bits in (ACK, DATA)}


def dispatch(
    datagram: Datagram, streams: Mapping[int, UdxStream], now: float, touched: dict[int, UdxStream]
) -> list[Datagram]:
    """Feeds a received datagram or run to the streams it names (`streams`: local id -> stream).

    Streams that received something are put into `touched`.  Returns what is not UDX or names no stream, as
    single datagrams, for the owner to look at.  Hostile input costs at most the parsing of its packets.
    """
    data, source, segment = datagram
    if not segment:
        name = stream_id(data)
        stream = None if name is None else streams.get(name)
        if name is None or stream is None:
            return [datagram]
        stream.receive(data, source, now)
        touched[name] = stream
        return []
    whole = len(data) // segment * segment
    left: list[Datagram] = []
    if segment < HEADER_SIZE or not _feed_run(data[:whole], segment, datagram, streams, now, touched):
        whole = 0
    for piece in cut(data[whole:], segment):
        left += dispatch(Datagram(piece, source, 0), streams, now, touched)
    return left


def cut(data: memoryview, segment: int) -> Iterator[memoryview]:
    """The datagrams of a run."""
    for at in range(0, len(data), segment):
        yield data[at : at + segment]


def _feed_run(
    data: memoryview,
    segment: int,
    datagram: Datagram,
    streams: Mapping[int, UdxStream],
    now: float,
    touched: dict[int, UdxStream],
) -> bool:
    """True if the run was one stream's plain packets and is dealt with."""
    names, windows, seqs, acks, payloads = zip(*_columns(segment).iter_unpack(data), strict=True)
    first = names[0]
    bits = _PLAIN.get(first[:4])
    if bits is None or names.count(first) != len(names):
        return False
    name = int.from_bytes(first[4:], "little")
    stream = streams.get(name)
    if stream is None:
        return False
    touched[name] = stream
    stream.receive_run(bits, windows, seqs, acks, payloads, datagram.source, now)
    return True


@lru_cache(maxsize=2048)
def _columns(segment: int) -> Struct:
    """(type bits and stream id, window, seq, ack, payload) of every packet of `segment` bytes."""
    return Struct(f"<8sIII{segment - HEADER_SIZE}s")
