"""`tests/vectors/udx.json`: a short exchange, packet by packet."""

from __future__ import annotations

from netstack.udx.congestion import FixedWindow
from netstack.udx.events import Closed, CloseReason, Data, End
from netstack.udx.intake import cut
from netstack.udx.packet import HEADER_SIZE, SACK, decode_header, decode_sacks, split_body
from netstack.udx.stream import UdxStream
from tests.support.vectors import matches

ADA, BOB = ("192.0.2.1", 49737), ("198.51.100.2", 1234)


def test_exchange_matches_vectors_packet_by_packet() -> None:
    ada = UdxStream(0x11223344, congestion=FixedWindow())
    bob = UdxStream(7, congestion=FixedWindow())
    ada.connect(7, BOB, 1.0)
    bob.connect(0x11223344, ADA, 1.0)
    steps: list[dict[str, object]] = []
    now = 1.0

    def pass_on(speaker: UdxStream, listener: UdxStream, *, lose: int | None = None) -> None:
        """What the speaker sends now reaches the listener, but for one packet."""
        packets = [
            bytes(piece)
            for item in speaker.take_outgoing(now)
            for piece in cut(memoryview(item.data), item.segment or len(item.data))
        ]
        for at, packet in enumerate(packets):
            header = decode_header(packet)
            area, payload = split_body(header, memoryview(packet)[HEADER_SIZE:])
            step: dict[str, object] = {
                "from": "ada" if speaker is ada else "bob",
                "header": packet[:HEADER_SIZE].hex(),
                "fields": header._asdict(),
                "payload": len(payload),
            }
            if header.bits & SACK:
                step["sacks"] = [list(pair) for pair in decode_sacks(area)]
                step["area"] = area.hex()
            if at == lose:
                step["lost"] = True
            else:
                listener.receive(memoryview(packet), (BOB if speaker is bob else ADA), now)
            steps.append(step)

    ada.write(bytes(3 * 1152))
    ada.write(b"tail")
    pass_on(ada, bob, lose=1)
    now = 1.05
    pass_on(bob, ada)
    now = ada.next_wake()
    ada.wake(now)
    pass_on(ada, bob)
    ada.end()
    pass_on(ada, bob)
    bob.write(b"answer")
    bob.end()
    pass_on(bob, ada)
    pass_on(ada, bob)
    pass_on(bob, ada)
    assert matches("udx", {"exchange": steps})["exchange"][0]["header"].startswith("ff0101")
    assert b"".join(event.data for event in bob.take_effects() if isinstance(event, Data)) == bytes(3456) + b"tail"
    assert ada.take_effects() == [Data(b"answer"), End(), Closed(CloseReason.ENDED)]
    assert bob.closed is CloseReason.ENDED
