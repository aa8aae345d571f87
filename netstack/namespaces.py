"""Domain separators of the HyperDHT family: `H( H(name) | index )`, H = BLAKE2b-256.

`docs/protocol.md`, "Handshake" and "Secret stream".
"""

from __future__ import annotations

from hashlib import blake2b


def namespace(name: str, index: int) -> bytes:
    """The 32-byte separator of use `index` in the subsystem `name`."""
    return blake2b(blake2b(name.encode(), digest_size=32).digest() + bytes((index,)), digest_size=32).digest()


PEER_HANDSHAKE = namespace("hyperswarm/dht", 0)
PEER_HOLEPUNCH = namespace("hyperswarm/dht", 1)
STREAM_INITIATOR = namespace("hyperswarm/secret-stream", 0)
STREAM_RESPONDER = namespace("hyperswarm/secret-stream", 1)
ANNOUNCE = namespace("hyperswarm/dht", 4)
UNANNOUNCE = namespace("hyperswarm/dht", 5)
MUTABLE_PUT = namespace("hyperswarm/dht", 6)
