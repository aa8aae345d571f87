"""A member brings back what he deleted, and takes with it what others said.

He publishes the deleted message again, edits it, answers it and marks it, deletes the deletion, deletes ahead what he
says later, and names blocks of others in deletions of his own.  A deletion counts for good and against its author's
own alone (`counts_deletion`), and an answer to nothing is an answer to nothing.
"""

from __future__ import annotations

from crdt.docs.chat import Edit, Message, Reaction
from crdt.docs.deletion import Block, Deletion, encode_deletion
from crdt.docs.ids import message_id
from crdt.log.entry import Kind
from crdt.log.merkle import leaf_of
from sync.service import messages
from sync.space.feed import EntryState
from sync.space.outbound import Draft
from sync.store.port import Table
from tests.support.adversary import CLUB, Cast
from tests.support.liar import work_of

SLIP, AHEAD, EDITED = "a slip of the tongue", "deleted before it was said", "and yet it moves"


def play(seed: str) -> None:
    cast = Cast(seed)
    world, ada, mal, bob, rng = cast.world, cast.ada, cast.mal, cast.bob, cast.mal.rng
    author = cast.club.members.author(cast.feed.core)
    assert author is not None
    nonce, later = rng(16), rng(16)
    slip, ahead, nothing = message_id(author[1], nonce), message_id(author[1], later), rng(32)
    ada.send(CLUB, "Ada's word")
    bob.send(CLUB, "Bob's word")
    cast.says(Message(nonce, SLIP))
    place = cast.feed.core, cast.feed.length - 1
    world.settle()
    world.cut(bob, [ada, mal])  # he sleeps through it
    before = {device: work_of(device) for device in cast.honest}

    _deletes(cast, slip, place)
    deletion = cast.feed.core, cast.feed.length - 1
    world.run(2)
    cast.says(Message(nonce, SLIP))
    cast.says(Edit(slip, EDITED), Reaction(slip, "\N{GHOST}", True))
    cast.says(Message(rng(16), "as I said", reply_to=slip), Message(rng(16), "as nobody said", reply_to=nothing))
    cast.says(Edit(nothing, EDITED), Reaction(nothing, "\N{GHOST}", True), Edit(ada.rows(CLUB)[0].id, EDITED))
    _deletes(cast, nothing, deletion)
    _deletes(cast, ahead)
    cast.says(Message(later, AHEAD))
    others = [(row.core, row.seq) for row in mal.rows(CLUB) if row.text in ("Ada's word", "Bob's word")]
    assert len(others) == 2
    _deletes(cast, slip, place, *others)
    for row in mal.rows(CLUB)[:2]:
        _deletes(cast, row.id, *others)
    cast.says(Message(nonce, SLIP), Edit(slip, EDITED))
    world.run(10)
    ada.restart()
    world.heal()
    world.settle()
    bob.restart()
    world.settle()
    shown = ["Ada's word", "Bob's word", "as I said", "as nobody said"]
    for device in cast.honest:
        profile, space = device.engine.profile, device.space(CLUB)
        read = messages.page(profile, space, 50, None, None, cast.now(device)).messages
        assert {m.text for m in read if not m.deleted} == set(shown), [m.text for m in read]
        feed = space.feed_store.feeds[cast.feed.core]
        first = space.feed_store.entry(feed, place[1])
        assert first is not None and first.state is EntryState.CLEARED
        assert not any(SLIP.encode() in value for table in Table for _, value in device.store.scan(table))
        work = work_of(device) - before[device]
        assert work.calls < 6000 and work.held < 40_000, work
    cast.promises(also=shown, never=[SLIP, AHEAD, EDITED])


def _deletes(cast: Cast, message: bytes, *places: tuple[bytes, int]) -> None:
    """A deletion of a message that names these blocks."""
    store, blocks = cast.club.feed_store, list[Block]()
    for core, seq in places:
        entry = store.entry(store.feeds[core], seq)
        assert entry is not None
        blocks.append(Block(core, seq, (entry.leaf or leaf_of(entry.block))[1]))
    body = encode_deletion(Deletion(message, tuple(sorted(blocks))))
    cast.appends(Draft(Kind.DELETION, lambda seq: body))
