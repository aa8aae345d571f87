"""A removed member keeps writing under old keys, offers the group to others, and hands out its old state."""

from __future__ import annotations

from crdt.docs.chat import Message
from sync.service.ids import chat_id, identity_id
from tests.support.adversary import CLUB, Cast


def play(seed: str) -> None:
    cast = Cast(seed, rank=1)
    world = cast.world
    cast.mal.send(CLUB, "while I was in")
    world.settle()
    world.cut(cast.mal, [cast.ada, cast.bob])
    cast.remove(cast.ada, cast.mal)
    world.settle()
    friend = world.person("Friend")
    world.cut(friend, [cast.ada, cast.bob])
    world.friends(cast.mal, friend, settle=False)
    world.run(5)
    chat = chat_id(cast.club.id)
    cast.mal.call(lambda calls: calls.chat_add(chat, identity_id(world.identities["Friend"])))
    world.run(5)
    friend.join(CLUB)
    world.run(10)
    cast.says(Message(cast.mal.rng(16), "written after my end"))
    friend.send(CLUB, "from somebody nobody asked in")
    world.run(10)
    cast.promises(also=["while I was in"], never=["written after my end", "from somebody nobody asked in"])
    assert not cast.in_group(cast.ada, friend) and not cast.in_group(cast.bob, friend)
