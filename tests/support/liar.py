"""A device that lies on its wires: production code, but for what a story changes on its way out, in, or adds.

    liar = Liar(cast.mal)
    liar.says = lambda peer, link, message: []            # says nothing any more
    liar.send(cast.ada, space, Tips(points))              # and this, whatever its own code thinks of it

`Work` counts what that costs others, in store calls, bytes and questions, never in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

from crdt.log.pack import seal_pack
from sync.engine.engine import Engine
from sync.engine.peer import Peer, SpaceLink
from sync.replicate.effects import Effect, SendMessage
from sync.replicate.encoding import decode, encode
from sync.replicate.messages import Blocks, Message
from sync.space.feed_store import FeedStore
from sync.space.space import Space
from sync.store.port import Table
from tests.support.device import Device

Change = Callable[[Peer, SpaceLink, Message], Iterable[Message]]
Answer = Callable[[Peer, SpaceLink, int], None]


def honest(peer: Peer, link: SpaceLink, message: Message) -> Iterable[Message]:
    """As it is."""
    return (message,)


class Liar:
    """says and hears: what becomes of each message of replication that its own code writes, or that others sent it."""

    def __init__(self, device: Device, *, says: Change = honest, hears: Change = honest) -> None:
        self.device = device
        self.says, self.hears = says, hears
        self.install()

    def install(self) -> None:
        """Puts itself between the engine that runs now and its wires."""
        replication = self.device.engine.replication
        perform, receive = replication.perform, replication.receive

        def said(peer: Peer, link: SpaceLink, effects: Iterable[Effect], now: float) -> None:
            changed: list[Effect] = []
            for effect in effects:
                message = decode(effect.type, effect.body) if isinstance(effect, SendMessage) else None
                told = self.says(peer, link, message) if message is not None else ()
                changed += [effect] if message is None else [SendMessage(*encode(one)) for one in told]
            perform(peer, link, changed, now)

        def heard(peer: Peer, link: SpaceLink, type: int, body: bytes, now: float) -> None:
            message = decode(type, body)
            for one in self.hears(peer, link, message) if message is not None else ():
                receive(peer, link, *encode(one), now)

        for name, wrapped in (("perform", said), ("receive", heard)):
            setattr(replication, name, wrapped)
        replication.fetching._perform = said

    def gives(self, answer: Answer) -> None:
        """From now on requests for history are answered so: called for each request, and when a pack is on its way."""
        replication = self.device.engine.replication

        def asked(peer: Peer, link: SpaceLink, space: Space, request: int, spans: object, now: float) -> None:
            answer(peer, link, request)

        def given(peer: Peer, link: SpaceLink, space: Space, request: int, now: float) -> None:
            answer(peer, link, request)

        for name, wrapped in (("_asked", asked), ("_give", given)):
            setattr(replication, name, wrapped)

    def pack(self, peer: Peer, link: SpaceLink, request: int, blob: bytes) -> None:
        """Answers a request with these bytes as a pack, sealed as it should be."""
        replication, rng = self.device.engine.replication, self.device.rng
        key, space = rng(32), self.device.engine.profile.spaces[link.space]
        told = replication._seal_key(peer, space, link.prekeys[request], key)
        if link.replicator is not None and told is not None:
            effects = link.replicator.give_pack(request, told, seal_pack(blob, key), self.device.now)
            replication.perform(peer, link, effects, self.device.now)

    def restart(self) -> None:
        """Another process, which lies as this one did."""
        self.device.restart()
        self.install()

    def sends_at(self, seconds: float, other: Device, space: bytes, message: Message) -> None:
        """Says it so many seconds from now."""

        def say() -> None:
            self.send(other, space, message)

        self.device.world.at(seconds, say)

    def link(self, other: Device, space: bytes) -> tuple[Peer, SpaceLink] | None:
        """The connection with a device and the channel of a space on it, if both are up."""
        there = other.engine.profile.account.device
        for peer in self.device.engine.peers.values():
            if peer.device == there and not peer.closing and space in peer.links:
                return peer, peer.links[space]
        return None

    def send(self, other: Device, space: bytes, *messages: Message) -> bool:
        """Says this on the channel of a space with that device, now.  Whether there is one."""
        found = self.link(other, space)
        if found is None:
            return False
        peer, link = found

        def say(engine: Engine) -> None:
            for message in messages:
                peer.mux.send(link.channel, *encode(message))

        self.device.do(say)
        return True

    def whispers(self, other: Device, type: int, *bodies: bytes) -> bool:
        """Says this on the hello channel with that device, now.  Whether there is a connection."""
        there = other.engine.profile.account.device
        found = [p for p in self.device.engine.peers.values() if p.device == there and not p.closing]
        for peer in found[:1]:
            self.device.do(lambda engine, peer=peer: [peer.mux.send(peer.main, type, body) for body in bodies])  # type: ignore[misc]
        return bool(found)


def withheld(feeds: FeedStore, message: Blocks, hidden: Container[int]) -> Blocks:
    """The message with hashes in place of the blocks at these seqs, as whoever erased them would say it."""
    blocks = list(message.blocks)
    for at, seq in enumerate(range(message.start, message.start + len(blocks))):
        if seq in hidden:
            node = feeds.nodes(message.writer, [2 * seq])[0]
            pair = seq % 2 and not at  # a range that begins between two leaves tells the size of both
            size = feeds.nodes(message.writer, [2 * seq - 1])[0].size if pair else node.size
            blocks[at] = (size, node.hash)
    return Blocks(message.writer, message.ticket, message.start, message.head, tuple(blocks), message.tail)


@contextmanager
def lowered(module: ModuleType, name: str, value: int) -> Iterator[None]:
    """Within, a bound of the product is lower, so that a story reaches it sooner."""
    before = getattr(module, name)
    assert value < before
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


@dataclass(frozen=True, slots=True)
class Work:
    """What a device did so far.  calls: of its store; held: bytes of values in it; sent: bytes of frames;
    asked: single blocks and proofs that it asked for since it started last."""

    calls: int
    held: int
    sent: int
    asked: int

    def __sub__(self, other: Work) -> Work:
        return Work(self.calls - other.calls, self.held - other.held, self.sent - other.sent, self.asked - other.asked)


def work_of(device: Device) -> Work:
    """Counted so far.  `(work_of(ada) - before).calls`."""
    calls = device.misfortune.calls
    held = sum(device.store.extent(table).octets for table in Table)
    device.misfortune.calls = calls
    return Work(calls, held, device.sent, device.engine.replication.fetching.asked)
