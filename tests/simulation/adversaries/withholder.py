"""A member keeps one message and one change of the group's title back for ever, and says that they were deleted.

A leaf counts as erased only by a deletion that counts in the fold (`SpaceFacts.erased`), a control entry never; what is
missing is asked of others by its hash, of each less and less often (`Fetching`).
"""

from __future__ import annotations

from collections.abc import Iterable

from crdt.docs.deletion import Block, Deletion, encode_deletion
from crdt.log.entry import Kind
from crdt.space.control import Set
from sync.engine.peer import Peer, SpaceLink
from sync.replicate.messages import Blocks, Fetch, Fetched, Message
from sync.space.epochs import write_control
from sync.space.feed import EntryState
from sync.space.outbound import Draft
from tests.support.adversary import CLUB, Cast
from tests.support.liar import Liar, withheld, work_of


def play(seed: str) -> None:
    cast = Cast(seed)
    world, ada, mal, bob = cast.world, cast.ada, cast.mal, cast.bob
    world.cut(bob, [ada, mal])
    hers = ada.space(CLUB).mine
    assert hers is not None
    start = hers.length
    ada.send(CLUB, "keep this")
    cast.do(lambda space, now: write_control(space, [Set("motto", b"kept")], now), ada)
    ada.send(CLUB, "and this")
    world.settle()
    kept_back = range(start, cast.club.feed_store.feeds[hers.core].length - 1)
    places = [(hers.core, seq, cast.club.feed_store.nodes(hers.writer, [2 * seq])[0].hash) for seq in kept_back]
    blocks = tuple(sorted(Block(*place) for place in places))
    cast.appends(Draft(Kind.DELETION, lambda seq: encode_deletion(Deletion(bytes(32), blocks))))
    asked = list[int]()

    def counts(peer: Peer, link: SpaceLink, message: Message) -> Iterable[Message]:
        if isinstance(message, Fetch):
            asked.extend(range(len(message.points)))
        return (message,)

    def keeps(peer: Peer, link: SpaceLink, message: Message) -> Iterable[Message]:
        if isinstance(message, Blocks) and message.writer == hers.writer and peer.identity == world.identities["Bob"]:
            return (withheld(cast.club.feed_store, message, kept_back),)
        if isinstance(message, Fetched):
            return (Fetched(message.point, None),)
        return (message,)

    mal.restart()  # what was on its way to Bob is not any more
    liar = Liar(mal, says=keeps, hears=counts)
    before = work_of(bob)
    world.wires.heal()
    world.cut(bob, ada)
    world.run(300)
    there = bob.space(CLUB)
    feed = there.feed_store.feeds[hers.core]
    assert feed.length == hers.length and feed.opened == start, "what is missing holds the frontier back"
    states = [entry.state for entry in there.feed_store.entries(feed, kept_back.start, kept_back.stop)]
    assert set(states) == {EntryState.WITHHELD}
    assert "keep this" not in world.texts(bob, CLUB) and "and this" in world.texts(bob, CLUB)
    assert {m.text: m.state for m in world.of(ada, CLUB)}["keep this"] == "queued"
    work = work_of(bob) - before
    assert 0 < len(asked) <= 8 * len(places) and work.calls < 4000 and work.sent < 60_000, (len(asked), work)

    bob.restart()
    world.run(20)
    mal.stop()
    world.wires.heal()
    world.run(30)
    for device in cast.honest:
        assert device.space(CLUB).state.settings.get("motto") == b"kept"
        assert {"keep this", "and this"} <= set(world.texts(device, CLUB))
    mal.boot()
    liar.install()
    cast.promises(also=["keep this", "and this"])
    assert {m.text: m.state for m in world.of(ada, CLUB)}["keep this"] == "delivered"
