"""A plain member makes himself an admin, removes the creator, renames the group and changes its settings."""

from __future__ import annotations

from crdt.space import moves
from crdt.space.control import Admin, Set
from tests.support.adversary import Cast


def play(seed: str) -> None:
    cast = Cast(seed)
    state = cast.club.state
    mine, ada = state.writers[cast.feed.core].member, state.creator
    assert ada is not None
    cast.controls(Admin(mine), Set("title", b"mine now"), Set("lifetime", b"1"))
    cast.opens(*moves.remove(cast.club.graph, ada, {}))
    cast.promises()
    after = cast.ada.space("club").state
    assert after.title == "club" and "lifetime" not in after.settings and not after.admins
    assert cast.in_group(cast.bob, cast.ada)
