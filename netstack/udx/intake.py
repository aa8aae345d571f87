"""From received batches to streams: which packets of a run belong to whom, parsed by the run and not by the packet."""

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
    left: list[Datagram] = []
    step = segment * BLOCK
    for at in range(0, len(data), step):
        block = data[at : at + step]
        for piece in cut(block[_feed(block, segment, datagram, streams, now, touched) :], segment):
            left += dispatch(Datagram(piece, source, 0), streams, now, touched)
    return left


def cut(data: memoryview, segment: int) -> Iterator[memoryview]:
    """The datagrams of a run."""
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
    """How many bytes of the block were one stream's plain packets and are dealt with: all but a short end, or none."""
    count = len(block) // segment
    columns = decode_run(block, segment, count) if count and segment >= HEADER_SIZE else None
    stream = streams.get(columns.stream) if columns else None
    if columns is None or stream is None:
        return 0
    touched[columns.stream] = stream
    stream.receive_run(columns, datagram.source, now)
    return count * segment
