"""A member opens epochs whose roster lacks Bob, supersedes all others with them, and writes under them."""

from __future__ import annotations

from crdt.docs.chat import Message
from crdt.log.entry import Kind
from crdt.space.control import ControlBody, Epoch, encode_control
from crdt.space.epoch import z_check
from crdt.space.grant import make_grant
from sync.space.outbound import Draft
from tests.support.adversary import CLUB, Cast


def play(seed: str) -> None:
    cast = Cast(seed)
    space, account = cast.club, cast.mal.engine.profile.account
    bob = cast.bob.engine.profile.account
    for _ in range(3):
        roster = tuple(place for place in space.state.roster if place.device != bob.device)
        epochs = tuple(sorted(e.id for e in space.state.epochs.values() if not e.superseded))
        secret, z = cast.mal.rng(32), cast.mal.rng(32)
        parents = space.graph.tips(cast.feed.core)
        body = encode_control(ControlBody(parents, (Epoch(roster, epochs, z_check(z)),)))
        ada = cast.ada.engine.profile.account.keys
        slots = [
            (ada.agreement.public, ada.prekey.public),
            (account.keys.agreement.public, account.keys.prekey.public),
        ]

        def grant(seq: int, secret: bytes = secret, z: bytes = z, slots: list[tuple[bytes, bytes]] = slots) -> bytes:
            return make_grant(
                cast.mal.rng, secret, z, cast.feed.core, seq, space.id, account.keys.agreement, slots, None
            )

        cast.appends(Draft(Kind.CONTROL, lambda seq, body=body: body, grant, secret))  # type: ignore[misc]
        cast.world.run(3)
    cast.says(Message(cast.mal.rng(16), "not for Bob's eyes"))
    cast.world.settle()
    cast.ada.send(CLUB, "for everybody")
    cast.promises(also=["for everybody"])
