"""`tests/vectors/netstack-connect.json`: hole-punch messages and those of blind relays, as npm writes them too."""

from __future__ import annotations

from netstack.connect.blind_relay import Pair, decode_pair, decode_unpair, encode_pair, encode_unpair
from netstack.connect.secure_payload import (
    HolepunchMessage,
    PunchPayload,
    SecurePayload,
    decode_holepunch,
    decode_punch,
    encode_holepunch,
    encode_punch,
)
from netstack.udp.port import Address
from netstack.wire.messages import Firewall, Refusal, RoutingMode
from tests.support.streams import stream
from tests.support.vectors import matches

RELAY: Address = ("192.0.2.7", 49737)
PEER: Address = ("198.51.100.9", 1025)
EVERYTHING = PunchPayload(
    Refusal.TRY_LATER, Firewall.CONSISTENT, 9, True, True, (RELAY, PEER), PEER, b"\1" * 32, b"\2" * 32
)
NOTHING = PunchPayload(firewall=Firewall.RANDOM)
MESSAGES = {
    "holepunch, from client": HolepunchMessage(RoutingMode.FROM_CLIENT, 7, b"\x09" * 50, RELAY),
    "holepunch, reply without address": HolepunchMessage(RoutingMode.REPLY, 0, b"\x08" * 41),
}
PAYLOADS = {"punch, everything": EVERYTHING, "punch, nothing": NOTHING}
PAIRS = {"pair, initiator": Pair(True, b"\3" * 32, 70_000), "pair, other": Pair(False, b"\4" * 32, 5)}


def test_holepunch_and_relay_messages_match_npm_vectors() -> None:
    sealed = SecurePayload(b"\x05" * 64, stream("vectors")).seal(EVERYTHING)
    kept = matches(
        "netstack-connect",
        {
            **{name: encode_holepunch(message).hex() for name, message in MESSAGES.items()},
            **{name: encode_punch(payload).hex() for name, payload in PAYLOADS.items()},
            **{name: encode_pair(pair).hex() for name, pair in PAIRS.items()},
            "unpair": encode_unpair(b"\3" * 32).hex(),
            "sealed, handshake hash of 64 times 05": sealed.hex(),
        },
    )
    assert {name: decode_holepunch(bytes.fromhex(kept[name])) for name in MESSAGES} == MESSAGES
    assert {name: decode_punch(bytes.fromhex(kept[name])) for name in PAYLOADS} == PAYLOADS
    assert {name: decode_pair(bytes.fromhex(kept[name])) for name in PAIRS} == PAIRS
    assert decode_unpair(bytes.fromhex(kept["unpair"])) == b"\3" * 32
    opened = SecurePayload(b"\x05" * 64, stream("other")).open(
        bytes.fromhex(kept["sealed, handshake hash of 64 times 05"])
    )
    assert opened == EVERYTHING
