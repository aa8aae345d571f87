"""A member uses a consent that somebody gave in another group, or for another person, to add them to this one."""

from __future__ import annotations

from crdt.space.control import Add
from tests.support.adversary import Cast


def play(seed: str) -> None:
    cast = Cast(seed, rank=1)
    world = cast.world
    dora = world.person("Dora")
    world.friends(cast.mal, dora)
    world.grouped("other", cast.mal, dora)
    other = cast.mal.space("other")
    (given,) = [
        op
        for entry in other.graph.entries()
        for op in entry.ops
        if isinstance(op, Add) and op.identity == world.identities["Dora"]
    ]
    cast.opens(given)
    stolen = Add(world.identities["Bob"], given.writer, given.device, given.statements, given.prekey, given.consent)
    cast.opens(stolen)
    world.settle()
    cast.promises()
    assert not cast.in_group(cast.ada, dora) and not cast.in_group(cast.bob, dora)
    members = cast.ada.space("club").state.members.values()
    assert sum(m.identity == world.identities["Bob"] for m in members) == 1
