"""`tests/vectors/netstack-dht.json`: ids, requests, records and signatures of the DHT, byte for byte.

The npm packages make the same bytes from the same inputs (`tests/interop/hyperdht/test_dht.py`, "written alike").
"""

from __future__ import annotations

from identity.keys import SigningKey
from netstack import namespaces
from netstack.dht.contact import contact_at
from netstack.dht.datagram import (
    ANNOUNCE,
    FIND_NODE,
    PING_NAT,
    SEQ_TOO_LOW,
    Request,
    Response,
    decode_datagram,
    encode_request,
    encode_response,
)
from netstack.dht.records import (
    PeerRecord,
    decode_announce,
    decode_lookup,
    decode_mutable,
    decode_mutable_put,
    encode_announce,
    encode_lookup,
    encode_mutable,
    encode_mutable_put,
    encode_peer,
    hashed,
    sign_announce,
    sign_mutable,
    verify_announce,
    verify_mutable,
)
from tests.support.vectors import matches

KEY = SigningKey.from_seed(b"\x01" * 32)
NODE, GUEST = ("192.0.2.1", 49737), ("198.51.100.2", 1234)
TARGET, TOKEN, REFRESH = b"\x02" * 32, b"\x03" * 32, b"\x04" * 32
RELAYS = (("192.0.2.7", 49737), ("192.0.2.8", 1))


def test_dht_messages_match_npm_byte_for_byte() -> None:
    id = contact_at(NODE).id
    said = sign_announce(KEY, TARGET, id, TOKEN, RELAYS, refresh=REFRESH, bump=1_800_000_000_000)
    back = sign_announce(KEY, TARGET, id, TOKEN, namespace=namespaces.UNANNOUNCE)
    value = sign_mutable(KEY, 300, b"a value")
    requests = {
        "find node": Request(1, NODE, FIND_NODE, True, TARGET, id=contact_at(GUEST).id),
        "ping nat": Request(0xFFFF, NODE, PING_NAT, True, value=(1234).to_bytes(2, "little")),
        "announce": Request(2, NODE, ANNOUNCE, target=TARGET, value=encode_announce(said), token=TOKEN),
    }
    responses = {
        "closer": Response(1, GUEST, closer=(NODE, *RELAYS), id=id),
        "token and value": Response(
            2, GUEST, encode_lookup([encode_peer(PeerRecord(KEY.public, RELAYS))], 5), id=id, token=TOKEN
        ),
        "error": Response(3, GUEST, error=SEQ_TOO_LOW),
    }
    kept = matches(
        "netstack-dht",
        {
            "seed": KEY.seed.hex(),
            "node": list(NODE),
            "node id": id.hex(),
            "target": TARGET.hex(),
            "token": TOKEN.hex(),
            "target of the key": hashed(KEY.public).hex(),
            "requests": {name: encode_request(request).hex() for name, request in requests.items()},
            "responses": {name: encode_response(response).hex() for name, response in responses.items()},
            "announce": encode_announce(said).hex(),
            "unannounce": encode_announce(back).hex(),
            "mutable value": encode_mutable(value).hex(),
            "mutable put": encode_mutable_put(KEY.public, value).hex(),
        },
    )
    assert {name: decode_datagram(bytes.fromhex(data)) for name, data in kept["requests"].items()} == requests
    assert {name: decode_datagram(bytes.fromhex(data)) for name, data in kept["responses"].items()} == responses
    announce, unannounce = (decode_announce(bytes.fromhex(kept[name])) for name in ("announce", "unannounce"))
    assert (announce, unannounce) == (said, back)
    assert verify_announce(announce, TARGET, id, TOKEN, namespaces.ANNOUNCE)
    assert verify_announce(unannounce, TARGET, id, TOKEN, namespaces.UNANNOUNCE)
    assert decode_mutable(bytes.fromhex(kept["mutable value"])) == value
    assert decode_mutable_put(bytes.fromhex(kept["mutable put"])) == (KEY.public, value)
    assert verify_mutable(value, KEY.public)
    read = decode_datagram(bytes.fromhex(kept["responses"]["token and value"]))
    assert read.value is not None
    assert decode_lookup(read.value).peers == (PeerRecord(KEY.public, RELAYS),)
