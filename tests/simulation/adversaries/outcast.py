"""The thief of a phone that was shut out goes on writing in every chat, and a member passes it on and vouches for it.

Held by: no space for a device that is out (`DeviceHandshake.shares`), the close of its feed and an epoch without it
(`sync/space/obligations.py`), no witness for what was opened after the end was learnt (`Feed.heard`), and "vouched by"
before the name where somebody else says that it had come before (`sync/service/names.py`).
"""

from __future__ import annotations

from crdt.space.control import FeedEnd, Witness
from sync.service import messages
from tests.support.device import Device
from tests.support.household import CLUB, Household, deafen, enact, everywhere, key_of, pass_on, shut_out, utter


def play(seed: str) -> None:
    home = Household(seed)
    world, thief, helper = home.world, home.phone, home.mal
    thief.send(CLUB, "while it was hers")
    world.settle()
    for accomplice in (thief, helper):
        deafen(accomplice, home.ada)
    world.cut(thief, [home.desk, home.bob])
    shut_out(home.desk, key_of(thief))
    world.settle()
    shared = [helper.space(CLUB).id, helper.space("Ada").id]
    for _ in range(3):
        for space in list(thief.engine.profile.spaces.values()):
            if not space.personal:
                utter(thief, space, f"from the thief {thief.rng(4).hex()}")
        for id_ in shared:
            pass_on(thief, helper, id_)
        world.run(2)
    home.desk.send(CLUB, "without the thief")
    home.bob.send("Ada", "for Ada alone")
    world.heal().settle()
    assert not stolen_words(home), stolen_words(home)
    home.promises(also=["while it was hers", "without the thief"])
    assert not world.texts(thief) or "for Ada alone" not in world.texts(thief)
    for honest in home.honest:
        assert not [p for p in honest.engine.peers.values() if p.device == key_of(thief) and p.links], honest.name

    for id_ in shared:
        theirs = helper.engine.profile.spaces[id_]
        feed = theirs.feed_store.feeds[thief.engine.profile.spaces[id_].mine.core]  # type: ignore[union-attr]
        enact(helper, theirs, Witness(FeedEnd(feed.writer, feed.length, feed.tree.hash())))
    home.promises()
    assert stolen_words(home), "a witness shows what it vouches for"
    for honest in home.honest:
        authors = {(name, proved) for name, text, proved in read(honest) if text.startswith("from the thief")}
        assert authors == {("Ada, vouched by Mal", False)}, authors


def stolen_words(home: Household) -> set[str]:
    return {text for text in everywhere(home.honest) if text.startswith("from the thief")}


def read(device: Device) -> list[tuple[str, str, bool]]:
    """(name, text, proved) of each message in the group, as people see them."""
    space, now_ms = device.space(CLUB), int(device.now * 1000)
    shown = messages.page(device.engine.profile, space, 100, None, None, now_ms).messages
    return [(one.author_name, one.text, one.proved) for one in shown]
