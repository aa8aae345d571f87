"""A member says again whatever he heard: back to whom it came from, on other connections, in other chats, as others.

A proof of a device holds for two devices and one handshake (`device_proof`), a channel for one space and handshake, and
heads, blocks and records are signed for what they are; of records the highest counter counts, and what nobody asked for
ends the connection.  So what is said twice is at best what is known already.
"""

from __future__ import annotations

from collections.abc import Iterable

from identity.keys import SigningKey
from sync.engine.engine import Engine
from sync.engine.hello import SAY
from sync.engine.peer import Peer, SpaceLink
from sync.replicate.messages import Message, Record
from sync.space.space import Space
from tests.support.adversary import CLUB, Cast
from tests.support.device import Device
from tests.support.liar import Liar, work_of


def play(seed: str) -> None:
    cast = Cast(seed)
    world, ada, mal, bob = cast.world, cast.ada, cast.mal, cast.bob
    heard: list[tuple[bytes | None, bytes, Message]] = []  # identity, space, message
    proofs: list[bytes] = []

    def listens(peer: Peer, link: SpaceLink, message: Message) -> Iterable[Message]:
        heard.append((peer.identity, link.space, message))
        return (message,)

    liar = Liar(mal, hears=listens)
    mal.stop()
    mal.boot()
    _overhears(mal, proofs)
    liar.install()
    ada.send(mal, "between you and me")
    bob.send(CLUB, "first")
    world.settle()
    ada.read(CLUB)
    bob.send(CLUB, "second")
    world.run(70)
    assert proofs and any(isinstance(message, Record) for _, _, message in heard)
    before = {device: work_of(device) for device in cast.honest}
    spaces = [cast.club.id, mal.space(ada).id, mal.space(bob).id]

    # Back to whom it came from, one by one: most of it ends the connection, the next one hears the next of it.
    said = 0
    for identity, space, message in heard[-40:]:
        for victim in cast.honest:
            own = world.identities[victim.owner] == identity
            for where in spaces if own else [space]:
                if liar.send(victim, where, message):
                    said += 1
        world.run(0.2)
    world.run(90)
    assert said >= 40

    # As Ada to Bob, and as Bob to Ada.
    for victim, other in ((bob, ada), (ada, bob)):
        _poses(cast, victim, proofs)
        world.run(20)
        there = other.engine.profile.account.device
        found = [peer for peer in victim.engine.peers.values() if peer.device == there and not peer.closing]
        assert [peer.address.split(":")[0] for peer in found] == [other.address[0]]

    # Old records once more to both: what was delivered stays so.
    records = [(space, message) for _, space, message in heard if isinstance(message, Record)]
    counters = [dict(space.feed_store.counters) for space in _spaces(cast)]
    for space, record in reversed(records):
        for victim in cast.honest:
            liar.send(victim, space, record)
    world.run(5)
    for kept, known in zip(_spaces(cast), counters, strict=True):
        assert all(kept.feed_store.counters[writer] >= counter for writer, counter in known.items())
    cast.promises(also=["first", "second"], never=["between you and me"])
    assert {m.text: m.state for m in world.of(bob, CLUB)}["second"] in ("delivered", "read")
    assert world.texts(ada, mal) == ["between you and me"]
    for device in cast.honest:
        work = work_of(device) - before[device]
        assert work.calls < 15_000 and work.held < 20_000 and work.sent < 600_000, (device.name, work)


def _spaces(cast: Cast) -> list[Space]:
    return [space for device in cast.honest for space in device.engine.profile.spaces.values()]


def _overhears(mal: Device, proofs: list[bytes]) -> None:
    """What others say to prove who they are."""
    handshake = mal.engine.handshake
    receive = handshake.receive

    def heard(peer: Peer, type: int, body: bytes, now: float) -> None:
        if type == SAY:
            proofs.append(body)
        receive(peer, type, body, now)

    setattr(handshake, "receive", heard)  # noqa: B010


def _poses(cast: Cast, victim: Device, proofs: list[bytes]) -> None:
    """Dials a device under a key of nobody and says what others said to prove who they are."""
    mal, world = cast.mal, cast.world
    transport = victim.engine.profile.account.transport(victim.now).public
    for proof in proofs:
        assert mal.core is not None
        before = set(mal.engine.peers)
        mal.core.connect(transport, [victim.address], SigningKey.generate(mal.rng), world.now)
        mal.wake()
        world.run(0.5)

        def say(engine: Engine, proof: bytes = proof, before: set[int] = before) -> None:
            for conn, peer in engine.peers.items():
                if conn not in before and peer.device is None:
                    peer.mux.send(peer.main, SAY, proof)

        mal.do(say)
