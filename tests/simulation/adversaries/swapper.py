"""A member who alone is about hands Bob's words on to Ada: altered, exchanged, shifted, cut, or with his own in place.

Every range has to lead to the head that Bob signed (`check_range`), and a block that was asked for by its hash has to
have that hash.  Whoever fails costs himself the connection, and Bob nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from crdt.docs.chat import Message as ChatMessage
from sync.engine.peer import Peer, SpaceLink
from sync.replicate.messages import Block, Blocks, Fetched, Message
from tests.support.adversary import CLUB, Cast
from tests.support.liar import Liar, withheld, work_of

SAID = [f"Bob's word {n}" for n in range(6)]


def play(seed: str) -> None:
    cast = Cast(seed)
    world, ada, mal, bob = cast.world, cast.ada, cast.mal, cast.bob
    before, tried = work_of(ada), list[str]()

    def lies(peer: Peer, link: SpaceLink, message: Message) -> Iterable[Message]:
        if not isinstance(message, Blocks) or link.space != cast.club.id or message.writer == cast.feed.writer:
            return (message,)
        name, lie = list(LIES.items())[len(tried) % len(LIES)]
        tried.append(name)
        return (lie(cast, message),)

    liar = Liar(mal, says=lies)
    world.cut(ada, [bob, mal])
    for text in SAID:
        bob.send(CLUB, text)
    cast.says(ChatMessage(mal.rng(16), "Mal's own"))
    world.settle()
    world.wires.heal()
    world.cut(ada, bob)
    world.run(120)
    assert not set(SAID) & set(world.texts(ada, CLUB))
    assert set(tried) == set(LIES), "every lie was told"
    assert len(tried) < 6 * len(LIES), "whoever lies is dialled less and less often"
    assert (work_of(ada) - before).calls < 300 * len(tried)
    world.heal()
    world.run(90)
    assert set(SAID) <= set(world.texts(ada, CLUB))

    # A block that is asked for by its hash: of his own message Mal shows Ada the hash, and then another block.
    def keeps_back(peer: Peer, link: SpaceLink, message: Message) -> Iterable[Message]:
        if peer.identity != world.identities["Ada"]:
            return (message,)
        if isinstance(message, Blocks) and message.writer == cast.feed.writer:
            return (withheld(cast.club.feed_store, message, range(message.start, 2**40)),)
        if isinstance(message, Fetched) and message.block is not None:
            tried.append("fetched")
            return (replace(message, block=bytes(len(message.block))),)
        return (message,)

    liar.says = keeps_back
    world.cut(ada, bob)
    cast.says(ChatMessage(mal.rng(16), "what Bob saw as well"))
    world.run(60)
    assert "fetched" in tried and "what Bob saw as well" not in world.texts(ada, CLUB)
    cast.promises(also=[*SAID, "Mal's own", "what Bob saw as well"])


# -- what he makes of a range -------------------------------------------------------------------------------------


def _altered(cast: Cast, message: Blocks) -> Blocks:
    return replace(message, blocks=(*message.blocks[:-1], _flip(message.blocks[-1])))


def _flip(block: Block) -> Block:
    return block if isinstance(block, tuple) else block[:-1] + bytes((block[-1] ^ 1,))


def _exchanged(cast: Cast, message: Blocks) -> Blocks:
    return replace(message, blocks=message.blocks[::-1])


def _shifted(cast: Cast, message: Blocks) -> Blocks:
    """Each block one place further on than it stands."""
    return replace(message, blocks=(message.blocks[0], *message.blocks[:-1]))


def _cut(cast: Cast, message: Blocks) -> Blocks:
    return replace(message, blocks=message.blocks[:-1])


def _own(cast: Cast, message: Blocks) -> Blocks:
    """His own last words, under Bob's name."""
    store, length = cast.club.feed_store, cast.feed.length
    blocks = store.blocks(cast.feed.writer, max(length - len(message.blocks), 0), length, 1 << 20)
    return replace(message, blocks=tuple(blocks))


def _hashes(cast: Cast, message: Blocks) -> Blocks:
    """Made-up hashes, as if everything had been erased."""
    return replace(message, blocks=tuple((300, cast.mal.rng(32)) for _ in message.blocks))


def _tail(cast: Cast, message: Blocks) -> Blocks:
    return replace(message, blocks=message.blocks[:1], tail=((300, cast.mal.rng(32)),))


LIES: dict[str, Callable[[Cast, Blocks], Blocks]] = {
    "altered": _altered,
    "exchanged": _exchanged,
    "shifted": _shifted,
    "cut": _cut,
    "own": _own,
    "hashes": _hashes,
    "tail": _tail,
}
