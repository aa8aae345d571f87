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
    # What Mal did while he was an admin stands or falls by the fold alone; where Bob fell, Ada asks him back.
    if not cast.in_group(cast.ada, cast.bob):
        cast.call(cast.ada, "chat_add", cast.bob)
        world.settle()
        cast.bob.join(CLUB)
        world.settle()
    assert state.title == CLUB
    cast.promises()
