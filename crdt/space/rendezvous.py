"""Rendezvous: what follows from a space's id and from its secret Z (`docs/protocol.md`).

Z travels with the epoch secret and changes only with a close or revocation.  Whoever knows it can prove to be of the
space on a connection, and finds the others under a topic of the day.
"""

from __future__ import annotations

from identity.digest import derive, digest
from identity.labels import Label

DAY_MS = 86_400_000
NEIGHBOUR_MS = 3 * 3_600_000  # around midnight the neighbour day's topic is used too


def space_id(creator: bytes) -> bytes:
    """32 bytes out of the creator's core key."""
    return digest(Label.SPACE, creator)


def capability(z: bytes) -> bytes:
    """32 bytes that prove membership on a channel without showing Z."""
    return derive(z, Label.CAPABILITY)


def channel_id(cap: bytes, handshake_hash: bytes) -> bytes:
    """32 bytes: the id of the space's channel on the connection with this handshake hash; new on each connection."""
    return derive(cap, Label.CHANNEL, handshake_hash)


def topic(z: bytes, day: int) -> bytes:
    """32 bytes: the DHT topic of a UTC day, counted from 1970-01-01."""
    return derive(z, Label.TOPIC, day.to_bytes(4, "little"))


def topic_days(now_ms: int) -> tuple[int, ...]:
    """Today, and the neighbour day within 3 h of midnight, today first."""
    today, past = divmod(now_ms, DAY_MS)
    if past < NEIGHBOUR_MS:
        return today, today - 1
    if past >= DAY_MS - NEIGHBOUR_MS:
        return today, today + 1
    return (today,)


def topics(z: bytes, now_ms: int) -> tuple[bytes, ...]:
    """The topics to announce and look up now."""
    return tuple(topic(z, day) for day in topic_days(now_ms))


def channel_proof(cap: bytes, handshake_hash: bytes, role: int) -> bytes:
    """32 bytes in the opening of the space's channel.  role: 0 of who dialled the connection, 1 of who was dialled.

    The channel's id alone proves nothing: whoever is shown it can open the same one.
    """
    return derive(cap, Label.CHANNEL, handshake_hash, bytes((role,)))
