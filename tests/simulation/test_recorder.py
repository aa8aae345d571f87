"""A recorder who sees inside every connection, as a quantum computer will one day: what the frames give away.

The secret stream around frames is keyed by X25519 alone, so here it is taken for broken: every frame of every
connection is at hand, and every X25519 secret of every device.  What stays closed rests on ML-KEM, or on the secret
that a text carried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from crdt.log.entry import read_block
from crdt.log.pack import open_pack
from crdt.space.grant import open_grant
from crdt.space.slot import open_text
from identity.errors import DecodeError
from identity.kem import HybridKey, Kem, KemKey
from identity.labels import Label
from sync.engine.peer import Peer, SpaceLink
from sync.engine.replication import Replication
from sync.space.space import Space
from tests.support.device import NOTES, Device
from tests.support.kem import SIMULATED
from tests.support.streams import stream
from tests.support.world import World

Patch = pytest.MonkeyPatch
SAID, NAME = "the key is under the stone", "Ada of the long and rare name"


def record(device: Device, frames: list[bytes]) -> None:
    """Keeps every frame that a device sends, as it is inside its connection."""
    send = device.transmit

    def transmit(conn: int, frame: bytes) -> None:
        frames.append(frame)
        send(conn, frame)

    device.transmit = transmit  # type: ignore[method-assign]


def secrets(device: Device) -> Iterator[tuple[str, bytes]]:
    """What no frame may show."""
    keys = device.engine.profile.account.keys
    yield "D", keys.agreement.secret
    yield "S", keys.signing.seed
    for prekey in keys.prekeys:
        yield "P", prekey.key.agreement.secret
        assert prekey.key.kem is not None
        yield "K", prekey.key.kem.seed
    for space in device.engine.profile.spaces.values():
        yield from (("Z", z) for z in space.rendezvous)
        for key in space.keys.values():
            yield "E", key.secret
            yield "Z", key.z
        for feed in space.feed_store.feeds.values():
            entries = space.feed_store.entries(feed, 0, feed.length)
            yield from (("message key", entry.key) for entry in entries if entry.key)


def broken(device: Device) -> list[HybridKey]:
    """Its prekeys as a quantum computer gives them: P with its secret, K without."""
    keys = device.engine.profile.account.keys
    found = []
    for prekey in keys.prekeys:
        assert prekey.key.kem is not None
        guess = KemKey.generate(SIMULATED, stream("a guess"))
        found.append(HybridKey(prekey.key.agreement, KemKey(prekey.key.kem.public, guess.seed)))
    return found


def whole(device: Device) -> list[HybridKey]:
    return [prekey.key for prekey in device.engine.profile.account.keys.prekeys]


def test_no_frame_shows_a_text_a_name_or_a_key() -> None:
    """An invite, a pairing with history, a direct chat and a group, all frames read."""
    world, frames = World("recorder"), list[bytes]()
    ada, bob = world.person(NAME), world.person("Bob")
    for device in (ada, bob):
        record(device, frames)
    world.friends(ada, bob)
    ada.send(bob, SAID)
    bob.send(ada, SAID + ", said Bob")
    ada.send(NOTES, SAID)
    world.settle()
    made: list[Device] = []
    device_of = world._device

    def watched(owner: str, kind: str) -> Device:
        made.append(device_of(owner, kind))
        record(made[-1], frames)
        return made[-1]

    world._device = watched  # type: ignore[method-assign]
    desk = world.link(ada, "desktop")
    world.grouped("a club of the rarest title", ada, bob)
    ada.send("a club of the rarest title", SAID)
    world.settle()
    assert SAID in world.texts(desk, bob) and made == [desk]
    seen = b"".join(frames)
    assert len(frames) > 100
    shown = [SAID.encode(), NAME.encode(), b"rarest title"]
    assert [text for text in shown if text in seen] == []
    found = {secret: name for device in (ada, bob, desk) for name, secret in secrets(device)}
    assert len(found) > 40
    assert [name for secret, name in found.items() if secret in seen] == []


@dataclass(frozen=True, slots=True)
class Caught:
    """What a new device was handed as a pack, and on which connection."""

    hash: bytes
    space: bytes
    sender: bytes
    told: bytes
    sealed: bytes


def test_packs_of_a_recorded_connection_stay_closed(monkeypatch: Patch) -> None:
    world = World("packs")
    phone = world.person("Ada")
    phone.send(NOTES, SAID)
    world.settle()
    caught: list[Caught] = []
    take = Replication._pack

    def pack(
        self: Replication,
        peer: Peer,
        link: SpaceLink,
        space: Space,
        request: int,
        told: bytes,
        sealed: bytes,
        now: float,
    ) -> None:
        known = self.profile.directory.device(peer.device) if peer.device is not None else None
        assert known is not None
        caught.append(Caught(peer.hash, space.id, known.agreement, told, sealed))
        take(self, peer, link, space, request, told, sealed, now)

    monkeypatch.setattr(Replication, "_pack", pack)
    desk = world.link(phone, "desktop")
    assert SAID in world.texts(desk, NOTES) and len(caught) >= 2
    own = desk.engine.profile.account.keys.agreement

    def key(one: Caught, keys: list[HybridKey], kem: Kem | None = SIMULATED, space: bytes | None = None) -> bytes:
        place = one.hash + (space or one.space)
        return open_text(kem, own, keys, one.sender, Label.PACK_KEY, place, one.told)

    for one in caught:
        assert open_pack(one.sealed, key(one, whole(desk))), "the device itself opens it"
        with pytest.raises(DecodeError):
            key(one, broken(desk))
        with pytest.raises(DecodeError):
            key(one, whole(phone))
        with pytest.raises(DecodeError):
            key(one, whole(desk), None)
        with pytest.raises(DecodeError):
            key(one, whole(desk), space=bytes(32))


def test_recorded_grants_stay_closed_once_k_is_erased() -> None:
    """Chats, the personal space, one's own slots and the other's; and what a thief of P and D finds is as closed."""
    world = World("grants")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, SAID)
    world.settle()
    tried = 0
    for reader, writer in ((ada, ada), (bob, ada), (ada, bob)):
        keys = reader.engine.profile.account.keys
        sender = writer.engine.profile.account.keys.agreement.public
        for space in writer.engine.profile.spaces.values():
            feed = space.mine
            if feed is None or space.id not in reader.engine.profile.spaces:
                continue
            for seq in range(feed.length):
                entry = space.feed_store.entry(feed, seq)
                assert entry is not None
                grant = read_block(entry.block, seq).grant
                if not grant:
                    continue
                place = (grant, feed.core, seq, space.id, keys.agreement)
                earlier = space.epoch_keys.earlier(feed.core)
                if open_grant(*place, whole(reader), [sender], kem=SIMULATED, earlier=earlier) is None:
                    continue  # it was not in that epoch
                assert open_grant(*place, broken(reader), [sender], kem=SIMULATED, earlier=earlier) is None
                tried += 1
    assert tried >= 6


@pytest.mark.parametrize("who", ["inviter", "invitee"])
def test_a_device_without_ml_kem_is_served_and_is_the_reason(who: str) -> None:
    world = World(f"old {who}")
    device_of = world._device

    def old(owner: str, kind: str) -> Device:
        made = device_of(owner, kind)
        made.kem = None if owner == who else SIMULATED
        return made

    world._device = old  # type: ignore[method-assign]
    inviter, invitee = world.person("inviter"), world.person("invitee")
    world.friends(inviter, invitee)
    inviter.send(invitee, "hello")
    invitee.send(inviter, "hello to you")
    world.settle()
    assert world.texts(invitee, inviter) == world.texts(inviter, invitee) == ["hello", "hello to you"]
    older = inviter if who == "inviter" else invitee
    for device, other in ((inviter, invitee), (invitee, inviter)):
        state = device.space(other).state
        live = [epoch for epoch in state.epochs.values() if not epoch.superseded]
        assert live
        for epoch in live:
            assert older.engine.profile.account.device in {place.device for place in epoch.classical}
