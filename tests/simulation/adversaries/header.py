"""A member signs heads that lie: of lengths that never were, of other feeds, of the past, and two of one length.

A head is believed for what it covers (`Remote.hear`, `check_range`): one beyond everything brings nothing, an earlier
one takes nothing back, one of another's feed ends the connection.  Two histories prove themselves to be two (`Fork`),
are told to everybody, and rest until a close decides.
"""

from __future__ import annotations

from dataclasses import replace

from crdt.docs.chat import Message as ChatMessage
from crdt.docs.chat import Reaction
from crdt.docs.kinds import DocKind
from crdt.docs.marks import reactions
from crdt.docs.schema import dump_value
from crdt.docs.update import make_update
from crdt.log.entry import Kind, Plaintext, encode_plaintext, message_key, seal_entry
from crdt.log.head import Head, sign_head
from crdt.log.merkle import MAX_LENGTH, Node, Tree, leaf_of, roots_at
from crdt.log.stamp import make_stamp
from sync.replicate.messages import Blocks, Frontier
from sync.service.ids import chat_id
from sync.space import timeline
from tests.support.adversary import CLUB, Cast
from tests.support.device import Device
from tests.support.liar import Liar, work_of

LENGTHS = (7, 1000, 2**20 + 1, 2**39, MAX_LENGTH)


def play(seed: str) -> None:
    cast = Cast(seed)
    world, ada, mal, bob, rng = cast.world, cast.ada, cast.mal, cast.bob, cast.mal.rng
    liar, club = Liar(mal), cast.club.id
    ada.send(CLUB, "Ada's word")
    world.settle()
    before = {device: work_of(device) for device in cast.honest}
    held = {device: _length(cast, device) for device in cast.honest}

    # Lengths that never were, rising and falling, and one that was, long ago.
    for length in (*LENGTHS, *reversed(LENGTHS)):
        for victim in cast.honest:
            liar.send(victim, club, Frontier(durable=True, heads=(_made_up(cast, length),)))
        world.run(1)
    for victim in cast.honest:
        liar.send(victim, club, Frontier(heads=(_past(cast, 1),)))
    world.run(20)
    assert {device: _length(cast, device) for device in cast.honest} == held

    # Of feeds of others, of nobody, and with a signature that is none: the connection ends, and the next one works.
    others = {w.writer for w in cast.club.state.writers.values()} - {cast.feed.writer}
    caught = 0
    lies = [replace(_made_up(cast, 9), writer=w.writer) for w in cast.club.state.writers.values()]
    lies += [Head(rng(32), 2**20, rng(32), rng(64)) for _ in range(200)]
    for lie in (*lies[:6], _made_up(cast, 50)):
        told = {victim: liar.link(victim, club) for victim in cast.honest}
        for victim, found in told.items():
            if found is not None:
                liar.send(victim, club, Frontier(heads=(lie,)))
        world.run(3)
        ended = [found[0].conn not in mal.engine.peers for found in told.values() if found is not None]
        assert all(ended) or lie.writer not in others
        caught += sum(ended)
    assert caught >= 4
    for victim in cast.honest:
        liar.send(victim, club, Frontier(heads=tuple(sorted(lies[6:], key=lambda head: head.writer))))
    liar.restart()
    world.settle()
    cast.says(ChatMessage(rng(16), "an honest word between two lies"))
    world.settle()
    for device in cast.honest:
        assert "an honest word between two lies" in world.texts(device, CLUB)
        work = work_of(device) - before[device]
        assert work.calls < 4000 and work.sent < 200_000 and work.held < 60_000, work

    # Two histories: Ada hears the one and Bob the other, before they hear each other.
    (row, *_) = mal.rows(CLUB)
    world.cut(ada, bob)
    for victim, emoji in ((ada, "\N{THUMBS UP SIGN}"), (bob, "\N{THUMBS DOWN SIGN}")):
        assert liar.send(victim, club, _next(cast, Reaction(row.id, emoji, True)))
    world.run(1)
    assert [_length(cast, device) for device in cast.honest] == [cast.feed.length + 1] * 2
    mal.stop()
    world.wires.heal()
    world.run(60)
    for device in cast.honest:
        assert _mal(cast, device) in device.space(CLUB).feed_store.proofs
        chat = chat_id(device.space(CLUB).id)
        members = device.call(lambda calls, chat=chat: calls.chat_members(chat)).members  # type: ignore[misc]
        assert [one.name for one in members if one.forked] == ["Mal"]
    cast.remove(ada, mal)
    world.settle()
    marks = [
        reactions(timeline.marks_on(device.store, device.space(CLUB).id, row.id), device.space(CLUB).policy().member)
        for device in cast.honest
    ]
    assert marks[0] == marks[1] and len(marks[0]) <= 1, marks
    cast.promises(also=["Ada's word", "an honest word between two lies"])
    assert not cast.in_group(ada, mal) and not cast.in_group(bob, mal)


def _mal(cast: Cast, device: Device) -> bytes:
    """Mal's W, as a device knows it."""
    state = device.space(CLUB).state
    mal = cast.world.identities["Mal"]
    return next(w.writer for w in state.writers.values() if state.members[w.member].identity == mal)


def _length(cast: Cast, device: Device) -> int:
    return device.space(CLUB).feed_store.by_writer[_mal(cast, device)].length


def _made_up(cast: Cast, length: int) -> Head:
    """A head of Mal's feed over blocks that are not there."""
    assert cast.feed.key is not None
    roots = tuple(Node(index, 300, cast.mal.rng(32)) for index in roots_at(length))
    return sign_head(cast.feed.key, Tree(length, roots))


def _past(cast: Cast, length: int) -> Head:
    """What Mal's feed was once."""
    assert cast.feed.key is not None
    nodes = cast.club.feed_store.nodes_of(cast.feed, roots_at(length))
    return sign_head(cast.feed.key, Tree(length, tuple(nodes)))


def _next(cast: Cast, value: Reaction) -> Blocks:
    """One way in which Mal's feed may go on: an entry with this value, which he does not keep himself."""
    space, feed, seq = cast.club, cast.feed, cast.feed.length
    epoch = space.epoch_keys.in_use(cast.now(cast.mal))
    assert epoch is not None and feed.key is not None
    body = make_update(feed.core, seq, DocKind.CHAT, [dump_value(value)])
    key, tag = message_key(epoch.secret, feed.core, seq)
    text = encode_plaintext(Plaintext(Kind.UPDATE, make_stamp(cast.now(cast.mal)), (), body))
    block = seal_entry(key, tag, feed.core, space.id, seq, text, b"")
    tree, _ = feed.tree.extend([leaf_of(block)])
    return Blocks(feed.writer, 0, seq, sign_head(feed.key, tree), (block,), ())
