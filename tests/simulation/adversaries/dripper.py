"""A member serves what is asked of him so slowly that it never ends: a block now and then, a pack a minute.

A feed that is fetched of him may be taken over by whoever else has it, unless he brings 32 KiB in 4 s (`Claims`), and
the history that a newcomer waits for holds its blocks up no longer than packs come at a pace (`Replication._pack`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from crdt.log.item import Item
from crdt.log.manifest import core_key
from crdt.log.pack import encode_pack
from identity.keys import SigningKey
from sync.engine.engine import Engine
from sync.engine.peer import Peer, SpaceLink
from sync.replicate.messages import Blocks, Message
from sync.replicate.ranges import make_range
from sync.service.ids import chat_id, identity_id
from tests.support.adversary import BOUND, CLUB, Cast
from tests.support.liar import Liar, work_of

GAP = 3.5  # seconds between two blocks: less than after which a silent one is passed over
LINES = [f"{n}: " + "long story " * 600 for n in range(24)]


def play(seed: str) -> None:
    cast = Cast(seed, rank=1)
    world, ada, mal, bob = cast.world, cast.ada, cast.mal, cast.bob

    # A feed: Mal is there first, and Bob, who wrote it, comes while Ada fetches it of Mal.
    world.cut(ada, [mal, bob])
    for line in LINES:
        bob.send(CLUB, line)
    world.settle()
    for device in (mal, bob):
        device.restart()  # nothing of it is on its way to Ada any more
    liar = Liar(mal)
    liar.says = partial(_drips, cast, liar)
    before = work_of(ada)
    world.wires.heal()
    world.cut(ada, bob)
    world.run(GAP + 2)
    assert 0 < len(set(LINES) & set(world.texts(ada, CLUB))) < 5, "Mal began"
    world.wires.heal()
    world.run(20)
    assert set(LINES) <= set(world.texts(ada, CLUB))
    assert (work_of(ada) - before).calls < 1500
    world.run(len(LINES) * GAP)

    # The history that a newcomer waits for: Mal lets her in and is the first whom she asks.
    dora = world.person("Dora")
    world.friends(mal, dora)
    world.friends(ada, dora)
    liar.gives(partial(_trickles, cast, liar))
    world.cut(dora, [ada, bob])
    chat = chat_id(cast.club.id)
    mal.call(lambda calls: calls.chat_add(chat, identity_id(world.identities["Dora"])))
    world.run(5)
    dora.join(CLUB)
    world.run(5)
    world.wires.heal()
    ada.send(CLUB, "welcome")
    world.run(200)
    assert "welcome" in world.texts(dora, CLUB)
    cast.promises(also=["welcome"], bound=len(LINES) + BOUND)
    assert world.texts(dora, CLUB)[-2:] == ["still there?", "still here."]


def _drips(cast: Cast, liar: Liar, peer: Peer, link: SpaceLink, message: Message) -> Iterable[Message]:
    """Bob's blocks one by one, each with all that proves it."""
    writer = next(w.writer for w in cast.club.state.writers.values() if w.core == _bobs(cast))
    if not isinstance(message, Blocks) or message.writer != writer or peer.identity != cast.world.identities["Ada"]:
        return (message,)
    store = cast.club.feed_store
    head = store.by_writer[writer].head
    assert head is not None
    for place in range(len(message.blocks)):
        seq = message.start + place
        blocks, tail = make_range(store, head, seq, seq + 1, 1)
        news = message.head if not place else None
        one = Blocks(writer, message.ticket, seq, news, tuple(blocks), tuple(tail))
        liar.sends_at(GAP * place, cast.ada, cast.club.id, one)
    return ()


def _bobs(cast: Cast) -> bytes:
    mine = cast.bob.space(CLUB).mine
    assert mine is not None
    return mine.core


def _trickles(cast: Cast, liar: Liar, peer: Peer, link: SpaceLink, request: int) -> None:
    """A pack with one item of nobody, and the next in 50 seconds, for ever."""
    core = core_key(SigningKey.generate(cast.mal.rng).public)
    item = Item(core, 0, cast.mal.rng(8), cast.mal.rng(32), cast.mal.rng(300), b"")

    def give(engine: Engine) -> None:
        if not peer.closing:
            liar.pack(peer, link, request, encode_pack([item]))

    cast.world.at(50, lambda: cast.mal.do(give) if cast.mal.up else None)
