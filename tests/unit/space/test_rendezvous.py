"""What follows from a space's id, from consent and from Z, byte for byte."""

from __future__ import annotations

from crdt.space.consent import ADD, consent_body, sign_consent, sign_succession, verify_consent
from crdt.space.control import Add, Parent
from crdt.space.epoch import z_check
from crdt.space.rendezvous import DAY_MS, capability, channel_id, space_id, topic, topic_days, topics
from identity.keys import SigningKey
from tests.support.vectors import matches

Z, CORE, HASH = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 64
W = SigningKey.from_seed(bytes(range(32)))
IDENTITY, DEVICE, PREKEY = (bytes((k,)) * 32 for k in (4, 5, 6))


def test_topics_include_the_adjacent_day_around_midnight() -> None:
    hour = 3_600_000
    day = 20_000
    assert topic_days(day * DAY_MS + 3 * hour - 1) == (day, day - 1)
    assert topic_days(day * DAY_MS + 3 * hour) == (day,)
    assert topic_days(day * DAY_MS + 21 * hour - 1) == (day,)
    assert topic_days(day * DAY_MS + 21 * hour) == (day, day + 1)
    assert topics(Z, day * DAY_MS) == (topic(Z, day), topic(Z, day - 1))


def test_channel_id_differs_on_every_connection() -> None:
    cap = capability(Z)
    assert channel_id(cap, HASH) != channel_id(cap, HASH[1:] + b"\0")
    assert len({cap, Z, z_check(Z), topic(Z, 1), channel_id(cap, HASH)}) == 5


def test_space_ids_and_secrets_equal_the_recorded_vectors() -> None:
    space = space_id(CORE)
    parents = (Parent(CORE, 4, IDENTITY),)
    made = {
        "creator core": CORE.hex(),
        "space id": space.hex(),
        "Z": Z.hex(),
        "Z check": z_check(Z).hex(),
        "capability": capability(Z).hex(),
        "handshake hash": HASH.hex(),
        "channel id": channel_id(capability(Z), HASH).hex(),
        "day": 20_000,
        "topic": topic(Z, 20_000).hex(),
        "writer seed": W.seed.hex(),
        "identity": IDENTITY.hex(),
        "device": DEVICE.hex(),
        "prekey": PREKEY.hex(),
        "consent to add": sign_consent(W, space, CORE, identity=IDENTITY, device=DEVICE, prekey=PREKEY).hex(),
        "consent to admit": sign_consent(W, space, CORE, identity=None, device=DEVICE, prekey=PREKEY).hex(),
        "succession of": CORE.hex(),
        "succession parents": [[parent.core.hex(), parent.seq, parent.hash.hex()] for parent in parents],
        "succession": sign_succession(W, space, CORE, parents).hex(),
    }
    kept = matches("space-ids", [made])[0]
    assert consent_body(space, CORE, IDENTITY, DEVICE, PREKEY)[64] == ADD
    op = Add(IDENTITY, W.public, DEVICE, (), PREKEY, bytes.fromhex(kept["consent to add"]))
    assert verify_consent(space, CORE, op)
