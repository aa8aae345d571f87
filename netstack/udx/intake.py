"""Distributes received datagrams and runs to streams, parsed by the run and not by the packet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from netstack.udp.port import Datagram
from netstack.udx.framing import BLOCK, decode_run
from netstack.udx.packet import HEADER_SIZE, stream_id
from netstack.udx.stream import UdxStream


def dispatch(
    datagram: Datagram, streams: Mapping[int, UdxStream], now: float, touched: dict[int, UdxStream]
) -> list[Datagram]:
    """Feeds a received datagram or run to the streams it names (`streams`: local id -> stream).

    Adds the streams that received something to `touched`.  Returns single datagrams that are not UDX or name no known
    stream, for the owner to handle.  Hostile input costs at most the parsing of its packets.
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
    left: list[Datagram] = []
    step = segment * BLOCK
    for at in range(0, len(data), step):
        block = data[at : at + step]
        for piece in cut(block[_feed(block, segment, datagram, streams, now, touched) :], segment):
            left += dispatch(Datagram(piece, source, 0), streams, now, touched)
    return left


def cut(data: memoryview, segment: int) -> Iterator[memoryview]:
    """The datagrams of a run, cut every `segment` bytes."""
    for at in range(0, len(data), segment):
        yield data[at : at + segment]


def _feed(
    block: memoryview,
    segment: int,
    datagram: Datagram,
    streams: Mapping[int, UdxStream],
    now: float,
    touched: dict[int, UdxStream],
) -> int:
    """Feeds a block of one stream's plain packets; returns how many bytes that were: all but a short end, or 0."""
    count = len(block) // segment
    columns = decode_run(block, segment, count) if count and segment >= HEADER_SIZE else None
    stream = streams.get(columns.stream) if columns else None
    if columns is None or stream is None:
        return 0
    touched[columns.stream] = stream
    stream.receive_run(columns, datagram.source, now)
    return count * segment
