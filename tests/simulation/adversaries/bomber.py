"""A member answers a newcomer's request for history with packs that are bombs: they unpack to more than they say, hold
what no entry holds, stand at places of other people's feeds, and fill the disk.

A pack says how much it unpacks to and is unpacked no further (`decode_pack`); an item is an entry only where its block
has the very hash that a signed head covers (`FeedStore.take_item`); and what waits for its feed has a bound (`PARKED`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial

from crdt.docs.chat import Message as ChatMessage
from crdt.docs.kinds import DocKind
from crdt.docs.schema import dump_value
from crdt.docs.update import make_update
from crdt.log.entry import Kind, Plaintext, encode_plaintext
from crdt.log.item import Item
from crdt.log.manifest import core_key
from crdt.log.pack import MAX_UNPACKED, encode_pack
from crdt.log.stamp import make_stamp
from identity.codec import Writer
from identity.keys import SigningKey
from sync.engine import replication
from sync.engine.peer import Peer, SpaceLink
from sync.service.ids import chat_id, identity_id
from tests.support.adversary import CLUB, Cast
from tests.support.liar import Liar, lowered, work_of

FORGED = "nobody ever said this"
ROOM = 1 << 20  # bytes for items that wait, in this story


def play(seed: str) -> None:
    cast = Cast(seed, rank=1)
    world, ada, mal, bob = cast.world, cast.ada, cast.mal, cast.bob
    bob.send(CLUB, "before you came")
    world.settle()
    with lowered(replication, "PARKED", ROOM):
        dora = world.person("Dora")
        world.friends(mal, dora)
        world.friends(ada, dora)
        liar, thrown = Liar(mal), list[str]()
        liar.gives(partial(_throws, cast, liar, thrown))
        world.cut(dora, [ada, bob])
        mal.call(lambda calls: calls.chat_add(chat_id(cast.club.id), identity_id(world.identities["Dora"])))
        world.run(5)
        dora.join(CLUB)
        before = work_of(dora)
        world.run(120)
        assert set(thrown) >= set(BOMBS), thrown
        held = work_of(dora) - before
        assert held.held < 2 * ROOM and held.calls < 12_000, held
        ada.send(CLUB, "welcome")
        world.wires.heal()
        world.run(90)
    assert "welcome" in world.texts(dora, CLUB)
    bob.send(CLUB, "hello Dora")
    cast.promises(also=["before you came", "welcome", "hello Dora"], never=[FORGED])
    assert not {FORGED, "before you came"} & set(world.texts(dora, CLUB)) and dora.engine.faults == []
    assert "hello Dora" in world.texts(dora, CLUB)
    assert dora.space(CLUB).feed_store.parked < ROOM


def _throws(cast: Cast, liar: Liar, thrown: list[str], peer: Peer, link: SpaceLink, request: int) -> None:
    """The next bomb, twice each; one that can be read is followed by another, the others end the connection."""
    if link.replicator is None or request not in link.prekeys or len(thrown) == 2 * len(BOMBS):
        return
    name, bomb = list(BOMBS.items())[len(thrown) % len(BOMBS)]
    thrown.append(name)
    liar.pack(peer, link, request, bomb(cast))


# -- the bombs ------------------------------------------------------------------------------------------------------


def _blob(runs: list[tuple[int, int, int]], items: int, size: int, stream: bytes) -> bytes:
    """A pack of one feed as its writer claims it is."""
    out = Writer().raw(b"\0\1").array([bytes(32)], Writer.raw)
    out.array(runs, lambda w, run: w.uint(run[0]).uint(run[1]).uint(run[2]))
    return out.raw(bytes(40 * items)).uint(size).raw(stream).finish()


def _unpacks_to_more(cast: Cast) -> bytes:
    return _blob([(0, 0, 1)], 1, 1000, zlib.compress(bytes(3 * MAX_UNPACKED), 1))


def _says_too_much(cast: Cast) -> bytes:
    return _blob([(0, 0, 1)], 1, 2**40, zlib.compress(bytes(1000)))


def _counts_millions(cast: Cast) -> bytes:
    return _blob([(0, n, 2**22) for n in range(1000)], 0, 0, zlib.compress(b""))


def _too_long_for_an_entry(cast: Cast) -> bytes:
    return encode_pack([Item(core_key(cast.feed.writer), 0, bytes(range(8)), bytes(32), bytes(3 << 20))])


def _other_peoples_places(cast: Cast) -> bytes:
    """Words at every place of every feed of the group, and at places still to come."""
    items = []
    for core, feed in sorted(cast.club.feed_store.feeds.items()):
        for seq in range(feed.length + 20):
            value = dump_value(ChatMessage(cast.mal.rng(16), FORGED))
            body = make_update(core, seq, DocKind.CHAT, [value])
            text = encode_plaintext(Plaintext(Kind.UPDATE, make_stamp(cast.now(cast.mal)), (), body))
            items.append(Item(core, seq, cast.mal.rng(8), cast.mal.rng(32), text))
    return encode_pack(items)


def _fills_the_disk(cast: Cast) -> bytes:
    """Entries of nobody that compress to next to nothing."""
    core = core_key(SigningKey.generate(cast.mal.rng).public)
    text = encode_plaintext(Plaintext(Kind.UPDATE, make_stamp(cast.now(cast.mal)), (), bytes(6000)))
    return encode_pack([Item(core, seq, cast.mal.rng(8), cast.mal.rng(32), text) for seq in range(600)])


BOMBS: dict[str, Callable[[Cast], bytes]] = {
    "other people's places": _other_peoples_places,
    "fills the disk": _fills_the_disk,
    "unpacks to more": _unpacks_to_more,
    "says too much": _says_too_much,
    "counts millions": _counts_millions,
    "too long for an entry": _too_long_for_an_entry,
}
