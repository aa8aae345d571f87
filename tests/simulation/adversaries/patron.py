"""An admin who is being removed brings in a friend at the same time, on the side of the group that does not know yet.

Held by: his add lies beyond the end that the creator's close names, so it falls with all that follows from it
(`crdt/space/fold.py`), and an epoch without the friend follows.  What Bob said under the friend's epoch, before he
knew, reaches Ada as an item, since the roster of that epoch held her (`sync/engine/history.py`, `Gate`).
"""

from __future__ import annotations

from crdt.space import moves
from crdt.space.control import Admin, Set
from sync.service.ids import chat_id, identity_id
from tests.support.adversary import CLUB, Cast
from tests.support.household import enact, key_of, opened_of, utter


def play(seed: str) -> None:
    cast = Cast(seed, rank=1)
    world, ada, mal, bob = cast.world, cast.ada, cast.mal, cast.bob
    friend = world.person("Friend")
    world.friends(mal, friend)
    world.cut(ada, [mal, bob, friend])
    cast.remove(ada, mal)
    chat = chat_id(cast.club.id)
    mal.call(lambda calls: calls.chat_add(chat, identity_id(world.identities["Friend"])))
    world.run(3)
    friend.join(CLUB)
    world.run(5)
    friend.send(CLUB, "let in by an admin")
    bob.send(CLUB, "who are you?")
    world.run(3)
    assert cast.in_group(bob, friend) and "let in by an admin" in world.texts(bob, CLUB)
    # The friend takes what an admin's favour would give, too: rank, settings, the removal of who could object.
    club = friend.space(CLUB)
    mine, state = club.mine, club.state
    assert mine is not None and state.creator is not None
    enact(friend, club, Admin(state.writers[mine.core].member), Set("title", b"ours"), Set("history", b"all"))
    enact(friend, club, *moves.remove(club.graph, state.creator, {}))
    world.run(2)
    world.heal()
    world.run(10)
    world.settle()

    starts = {device.name: device.space(CLUB).mine.length for device in (ada, bob)}  # type: ignore[union-attr]
    utter(friend, club, "I am still here")
    utter(mal, cast.club, "and so am I")
    ada.send(CLUB, "just us")
    world.settle()
    cast.promises(also=["who are you?", "just us"], never=["I am still here", "and so am I"])
    for device in (ada, bob):
        assert not cast.in_group(device, friend) and not cast.in_group(device, mal), device.name
        assert device.space(CLUB).state.title == CLUB and "history" not in device.space(CLUB).state.settings
        core = device.space(CLUB).mine.core  # type: ignore[union-attr]
        for outside in (friend, mal):
            assert not opened_of(outside, club.id, core, starts[device.name]), (outside.name, device.name)
    rostered = {place.device for place in ada.space(CLUB).state.roster}
    assert rostered == {key_of(ada), key_of(bob)}
