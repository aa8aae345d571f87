"""A member floods Ada: tips of entries that never were, words of every kind on the hello channel, silent connections.

What he says is asked of him alone and remembered up to a bound (`MAX_TOLD`), so that his lies use up nothing between
Ada and Bob; and of strangers who prove nothing the oldest makes room (`MAX_UNPROVED`).
"""

from __future__ import annotations

from collections.abc import Iterable

from crdt.docs.chat import Message as ChatMessage
from identity.keys import SigningKey
from sync.engine.engine import MAX_UNPROVED
from sync.engine.fetching import MAX_TOLD
from sync.engine.hello import OUT, encode_out
from sync.engine.peer import Peer, SpaceLink
from sync.replicate.messages import MAX_TIPS, Blocks, Message, Tips
from tests.support.adversary import CLUB, Cast
from tests.support.liar import Liar, withheld, work_of


def play(seed: str) -> None:
    cast = Cast(seed)
    world, ada, mal, bob, rng = cast.world, cast.ada, cast.mal, cast.bob, cast.mal.rng
    club, liar = cast.club.id, Liar(mal)
    before = {device: work_of(device) for device in cast.honest}
    bobs = bob.space(CLUB).mine
    assert bobs is not None

    # Tips: twice as many as are remembered, at places of Bob's feed where something else stands.
    for _ in range(2 * MAX_TOLD // MAX_TIPS):
        points = tuple((bobs.core, int.from_bytes(rng(1), "big") % bobs.length, rng(32)) for _ in range(MAX_TIPS))
        assert liar.send(ada, club, Tips(points))
        world.run(0.2)
    liar.whispers(ada, OUT, *(encode_out(rng(32), [rng(32)]) for _ in range(200)))
    for type in (99, 2**20):
        liar.whispers(ada, type, *(rng(200) for _ in range(200)))

    # Connections under keys of nobody, which say nothing.
    transport = ada.engine.profile.account.transport(ada.now).public
    silent = SigningKey.generate(rng)
    for _ in range(MAX_UNPROVED + 20):
        assert mal.core is not None
        mal.core.connect(transport, [ada.address], silent, world.now)
    mal.wake()
    for _ in range(4):
        world.run(0.5)
        assert sum(peer.device is None for peer in ada.engine.peers.values() if not peer.closing) <= MAX_UNPROVED
    world.run(20)

    # Beside all that, what Ada needs of Bob by its hash she still gets of him: Mal shows her the hash alone.
    met = {conn for conn, peer in ada.engine.peers.items() if peer.identity == world.identities["Bob"]}
    liar.says = lambda peer, link, message: kept_back(cast, peer, link, message)
    cast.says(ChatMessage(rng(16), "read this, Bob"))
    world.run(2)
    mal.stop()
    world.run(30)
    assert "read this, Bob" in world.texts(ada, CLUB)
    assert met == {conn for conn, peer in ada.engine.peers.items() if peer.identity == world.identities["Bob"]}
    assert (work_of(ada) - before[ada]).asked <= 3 * MAX_TOLD
    cast.promises(also=["read this, Bob"])
    for device in cast.honest:
        work = work_of(device) - before[device]
        assert work.calls < 2000 and work.held < 50_000, (device.name, work)
    assert (work_of(bob) - before[bob]).sent < 50_000


def kept_back(cast: Cast, peer: Peer, link: SpaceLink, message: Message) -> Iterable[Message]:
    """To Ada the hashes of Mal's blocks, to Bob the blocks."""
    if isinstance(message, Blocks) and peer.identity == cast.world.identities["Ada"]:
        places = range(message.start, message.start + len(message.blocks))
        return (withheld(cast.club.feed_store, message, places),)
    return (message,)
