"""An admin sets the lifetime of messages to nothing, to for ever, to numbers of 300 digits and to what is no number.

What counts in the fold is set, as everywhere; what is read is a number of seconds within bounds, or none
(`claimed_lifetime`).  So nobody is kept from writing, and what was written before lives as long as it was to live.
"""

from __future__ import annotations

from crdt.docs.kinds import DocKind
from crdt.docs.update import make_update
from crdt.log.entry import Kind
from crdt.space.control import Set
from sync.service.ids import chat_id
from sync.space.feed import EntryState
from tests.support.adversary import CLUB, Cast
from tests.support.device import Device
from tests.support.liar import work_of

KEPT = ["before all that", "Ada writes on", "Bob writes on"]
VALUES = [
    b"0",
    b"9" * 300,
    b"-5",
    b"1e9",
    b"\xff\xfe",
    b"",
    b" 7",
    "٣".encode(),
    b"2147483648",
    b"0x10",
    b"nan",
    b"0" * 4000,
]


def play(seed: str) -> None:
    cast = Cast(seed, rank=1)
    world, ada, mal, bob = cast.world, cast.ada, cast.mal, cast.bob
    ada.send(CLUB, "before all that")
    world.settle()
    before = {device: work_of(device) for device in cast.honest}

    # Whatever he sets, they write, and what they write lives on.
    for n, value in enumerate(VALUES):
        cast.controls(Set("lifetime", value))
        world.run(0.5)
        assert all(device.space(CLUB).state.settings.get("lifetime") == value for device in cast.honest), value
        (ada, bob)[n % 2].send(CLUB, f"under {value[:8]!r}")
    world.settle()

    # At the same time as Ada, who says a minute: one of the two counts, for both of them the same.
    world.cut(mal, [ada, bob])
    _sets(ada, "60")
    cast.controls(Set("lifetime", b"9" * 4000))
    world.run(1)
    world.heal()
    world.settle()
    one, other = (device.space(CLUB).state.settings["lifetime"] for device in cast.honest)
    assert one == other
    _sets(ada, "60")
    world.run(1)
    ada.send(CLUB, "gone in a minute")
    cast.controls(Set("lifetime", b"0"))
    world.run(1)
    ada.send(CLUB, "Ada writes on")
    bob.send(CLUB, "Bob writes on")

    # Lifetimes in messages of his own, past every check.
    for life in ("0", "-1", "2147483648", "9" * 300, "1.5", '"60"', "null"):
        text = f'{{"nonce":"{"A" * 22}","text":"ill-made","life":{life}}}'
        cast.seals(Kind.UPDATE, make_update(cast.feed.core, cast.feed.length, DocKind.CHAT, [("messages", text)]))
    world.run(120)
    ours = ada.space(CLUB).mine
    assert ours is not None
    gone = [
        sum(entry.state is EntryState.CLEARED for entry in device.space(CLUB).feed_store.entries(feed, 0, ours.length))
        for device in cast.honest
        if (feed := device.space(CLUB).feed_store.feeds[ours.core])
    ]
    assert gone == [1, 1], "the one that had a minute"
    cast.promises(also=[*KEPT, *(f"under {value[:8]!r}" for value in VALUES)], never=["gone in a minute", "ill-made"])
    for device in cast.honest:
        work = work_of(device) - before[device]
        assert work.calls < 4000 and work.held < 200_000 and work.sent < 700_000, work


def _sets(device: Device, seconds: str) -> None:
    chat = chat_id(device.space(CLUB).id)
    device.call(lambda calls: calls.chat_set(chat, "lifetime", seconds))
