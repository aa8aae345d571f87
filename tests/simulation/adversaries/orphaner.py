"""A member writes control entries whose parents never were, so that everybody waits for what cannot come.

Entries that name them wait, up to a bound; what others do waits a minute from when his feed first named one, and not
again for that feed (`Members.wait_for_missing`): newcomers write their first entries, and an epoch for all is opened.
"""

from __future__ import annotations

from crdt.log.entry import Kind
from crdt.space.control import ControlBody, Parent, Set, encode_control
from sync.engine.tasks.epochs import turn_to_open
from sync.service.ids import chat_id, identity_id
from tests.support.adversary import CLUB, Cast
from tests.support.liar import work_of


def play(seed: str) -> None:
    cast = Cast(seed)
    world, ada, mal, bob, rng = cast.world, cast.ada, cast.mal, cast.bob, cast.mal.rng
    before = {device: work_of(device) for device in cast.honest}
    others = [w.core for w in cast.club.state.writers.values() if w.core != cast.feed.core]

    def orphans() -> None:
        """Of nobody's feeds, of honest ones at places long past and still to come, and of his own."""
        cores = [*(rng(32) for _ in range(12)), *others * 4, *[cast.feed.core] * 4]
        named = sorted(Parent(core, place % 60, rng(32)) for place, core in enumerate(cores))
        cast.seals(Kind.CONTROL, encode_control(ControlBody(tuple(named), (Set("title", b"orphaned"),))))

    orphans()
    world.run(5)

    # Ada lets Dora in, and Bob a second device of his, apart from each other: an epoch for all is lacking.
    world.cut([ada, mal], bob)
    dora = world.person("Dora")
    world.cut(dora, bob)
    world.friends(ada, dora, settle=False)
    ada.call(lambda calls: calls.chat_add(chat_id(ada.space(CLUB).id), identity_id(world.identities["Dora"])))
    world.run(3)
    dora.join(CLUB)
    desk = world.link(bob, "desktop", settle=False, away_from=[ada, mal, dora])
    world.run(10)
    world.heal()
    for _ in range(2):
        orphans()
        world.run(20)
    world.run(50)
    for device in (dora, desk):
        mine = device.space(CLUB).mine
        assert mine is not None and mine.length, "its first entry, by which others know whose writer this is"
    for device in (ada, bob, dora, desk):
        state = device.space(CLUB).state
        assert len(state.roster) == 5 and turn_to_open(device.space(CLUB)) is None
        assert any(e.roster == state.roster and e.covers and not e.superseded for e in state.epochs.values()), device
    for device in cast.honest:
        work = work_of(device) - before[device]
        assert work.calls < 6000 and work.asked < 3000 and work.held < 300_000, work
    dora.send(CLUB, "Dora is here")
    cast.promises(also=["Dora is here"])
    assert "still there?" in world.texts(dora, CLUB) and ada.space(CLUB).state.title == CLUB
