"""A member admits hundreds of feeds as devices of his own."""

from __future__ import annotations

from crdt.space.consent import sign_consent
from crdt.space.control import Admit
from identity.keys import SigningKey
from tests.support.adversary import CLUB, Cast


def play(seed: str) -> None:
    cast = Cast(seed)
    profile = cast.mal.engine.profile
    device, prekey = profile.account.device, profile.account.keys.prekey.public
    statements = tuple(profile.directory.encoded(profile.account.identity))
    for _ in range(60):
        key = SigningKey.generate(cast.mal.rng)
        consent = sign_consent(key, cast.club.id, cast.feed.core, identity=None, device=device, prekey=prekey)
        cast.controls(Admit(key.public, device, statements, prekey, consent))
    cast.world.settle()
    cast.promises()
    for honest in cast.honest:
        state = honest.space(CLUB).state
        mal = cast.world.identities["Mal"]
        seats = {w.writer for w in state.writers.values() if state.members[w.member].identity == mal}
        assert sum(place.writer in seats for place in state.roster) <= 6
    cast.remove(cast.ada, cast.mal)
    cast.world.settle()
    assert not cast.in_group(cast.bob, cast.mal)
