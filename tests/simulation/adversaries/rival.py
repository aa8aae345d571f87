"""Two admins: one removes an innocent member while the creator removes the admin, apart from each other."""

from __future__ import annotations

from tests.support.adversary import CLUB, Cast


def play(seed: str) -> None:
    cast = Cast(seed, rank=1)
    world = cast.world
    world.cut(cast.ada, [cast.mal, cast.bob])
    cast.remove(cast.mal, cast.bob)
    cast.remove(cast.ada, cast.mal)
    world.settle()
    world.heal().settle()
    state = cast.ada.space(CLUB).state
    assert not cast.in_group(cast.ada, cast.mal)
    # The creator's close is taken first, and Mal's lies beyond it: Bob never was out, whatever he was told meanwhile.
    assert cast.in_group(cast.ada, cast.bob) and cast.in_group(cast.bob, cast.bob)
    assert cast.bob.engine.profile.view.chats[cast.bob.space(CLUB).id].state == "active"
    assert state.title == CLUB
    cast.promises()
