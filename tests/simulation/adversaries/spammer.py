"""An admin uses his rights without measure: marks, edits, names, titles, fifty of each.

Of a feed 20 emoji count on one message (`marks.fold`), what replaces replaces and does not pile up, and a contact's
names are noted once a day (`exchange_profiles`): so nobody writes because of it, and a row stays what it was.
"""

from __future__ import annotations

from crdt.docs.chat import Edit, MemberProfile, Message, Reaction
from crdt.docs.ids import message_id
from crdt.docs.marks import reactions
from crdt.space.control import Set
from sync.service import messages
from sync.space import timeline
from sync.store.port import Table
from tests.support.adversary import CLUB, Cast
from tests.support.device import Device
from tests.support.liar import work_of

TIMES = 50
SHOWN = 20  # emoji of one member on one message


def play(seed: str) -> None:
    cast = Cast(seed, rank=1)
    world, ada, mal, bob = cast.world, cast.ada, cast.mal, cast.bob
    ada.send(CLUB, "please be brief")
    world.settle()
    (row,) = mal.rows(CLUB)
    author = cast.club.members.author(cast.feed.core)
    assert author is not None
    nonce = mal.rng(16)
    own = message_id(author[1], nonce)
    cast.says(Message(nonce, "draft"))
    world.settle()
    before = {device: work_of(device) for device in cast.honest}
    notes = {device: _noted(device) for device in cast.honest}
    start = cast.feed.length
    for n in range(TIMES):
        cast.says(Reaction(row.id, chr(0x1F400 + n), True), Reaction(row.id, "\N{WHITE HEAVY CHECK MARK}", n % 2 == 0))
        cast.says(Edit(own, f"draft {n}"), MemberProfile(f"Mal the {n}."))
        if n % 4 == 0:
            cast.controls(Set("title", f"club {n}".encode()), Set("motto", bytes(n)))
            name = f"Mal the {n}."  # his own apps tell it in every chat
            mal.call(lambda calls, name=name: calls.profile_set(name=name))  # type: ignore[misc]
            world.run(2)
    cast.controls(Set("title", CLUB.encode()))
    world.settle()
    written = cast.feed.length - start
    last = f"draft {TIMES - 1}"
    for device in cast.honest:
        space = device.space(CLUB)
        marks = reactions(timeline.marks_on(device.store, space.id, row.id), space.policy().member)
        assert len(marks) <= SHOWN and world.texts(device, CLUB) == ["please be brief", last]
        rows = device.store.scan(Table.ROW, space.id)
        assert max(len(value) for _, value in rows) < 600
        shown = messages.page(device.engine.profile, space, 50, None, None, cast.now(device)).messages
        assert [(m.text, len(m.reactions) <= SHOWN) for m in shown] == [("please be brief", True), (last, True)]
        work = work_of(device) - before[device]
        assert work.calls < 10 * written and work.sent < 4000 * written, (written, work)
        assert _noted(device) - notes[device] <= 1
    cast.promises(also=["please be brief", last])
    assert bob.space(CLUB).state.title == CLUB


def _noted(device: Device) -> int:
    """Entries of the personal space, where a device notes what contacts call themselves."""
    mine = device.engine.profile.personal.mine
    assert mine is not None
    return mine.length
