"""Clocks that are wrong, and stamps that lie: they decide where a message is drawn and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crdt.docs.chat import Edit, Reaction
from crdt.docs.chat import Message as ChatMessage
from crdt.docs.facts import ABOUT_PROFILES, Fact, facts_of
from crdt.docs.kinds import DocKind
from crdt.docs.own import OwnContact, OwnProfile
from crdt.docs.rows import Row
from crdt.docs.schema import ChatValue, Value, dump_value
from crdt.docs.timeline import fold_profiles
from crdt.docs.update import make_update
from crdt.log import entry as entries
from crdt.log.entry import Kind, Plaintext, encode_plaintext, message_key, seal_entry
from crdt.log.head import sign_head
from crdt.log.item import Item
from crdt.log.merkle import leaf_of
from crdt.log.stamp import CEILING_MS, MAX_STAMP
from crdt.space.control import Set
from identity.errors import DecodeError
from identity.extension import Extension
from sync.engine.engine import Engine
from sync.engine.replication import is_past
from sync.service import chats, delivery, messages
from sync.service.exporting import export_lines
from sync.service.ids import chat_id, message_id
from sync.space import facts, timeline
from sync.space.epochs import write_control
from sync.space.feed import EntryState
from sync.space.space import Space
from sync.store.port import Table, prefix_end
from tests.simulation.clocks import run
from tests.simulation.soak_clocks import FIRST, STEPS, soak
from tests.simulation.test_attacks import ms, must, nothing_broke
from tests.support.device import NOTES, Device
from tests.support.three import identity, three
from tests.support.world import World

Patch = pytest.MonkeyPatch
YEAR = 365 * 86_400.0
LOG = Path(__file__).parents[2] / "docs" / "evidence" / "clocks.txt"


def forge(device: Device, space: Space, text: bytes) -> None:
    """Appends an entry with exactly this plaintext to the device's feed, as no honest writer does."""

    def append(engine: Engine) -> None:
        feed = must(space.mine)
        epoch = space.epoch_keys.in_use(ms(device))
        assert epoch is not None and feed.key is not None
        key, tag = message_key(epoch.secret, feed.core, feed.length)
        block = seal_entry(key, tag, feed.core, space.id, feed.length, text)
        leaf = leaf_of(block)
        tree, nodes = feed.tree.extend([leaf])
        head = sign_head(feed.key, tree)
        space.inbound.absorb(feed.writer, feed.length, [block], [leaf], tree, nodes, head, ms(device))

    device.do(append)


def update(space: Space, stamp: int, *values: ChatValue, more: tuple[Extension, ...] = ()) -> bytes:
    """The plaintext of an update at the next place of the device's feed, whatever its stamp."""
    feed = must(space.mine)
    body = make_update(feed.core, feed.length, DocKind.CHAT, [dump_value(value) for value in values])
    low = encode_plaintext(Plaintext(Kind.UPDATE, 0, (), body, more))
    return low[:1] + stamp.to_bytes(8, "little") + low[9:]


def write(device: Device, space: Space, value: Value) -> None:
    """Writes a value as the device's program would, with what it replaces."""
    device.do(lambda engine: engine.profile.write(space, [[value]], ms(device)))


def rows(device: Device, other: Device) -> list[Row]:
    return timeline.page(device.store, device.space(other).id, 1000)


def unread(device: Device, other: Device) -> int:
    return messages.unread(device.engine.profile, device.space(other))


def lines_work(device: Device, folder: Path) -> None:
    """List, history and export answer."""
    profile = device.engine.profile
    for id_ in profile.view.chats:
        chats.model(profile, id_, ms(device))
        messages.page(profile, profile.spaces[id_], 50, None, None, ms(device))
        asyncio.run(
            export_lines(
                profile, id_, folder / f"{id_.hex()[:8]}-{len(list(folder.iterdir()))}.jsonl", False, ms(device)
            )
        )


def at_clock(device: Device, skew: float) -> None:
    """The device is started with a clock that is so many seconds ahead."""
    device.stop()
    device.skew = skew
    device.boot()
    device.world.settle()


# -- stamps that lie ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stamp", [2**64 - 1, MAX_STAMP + 1, CEILING_MS << 16])
def test_entry_stamped_beyond_the_ceiling_is_no_message_and_breaks_no_list(stamp: int, tmp_path: Path) -> None:
    world, ada, mal, _ = three(91)
    mal.send(ada, "before")
    world.settle()
    text = update(mal.space(ada), stamp, ChatMessage(bytes(16), "from the end of time"))
    forge(mal, mal.space(ada), text)
    world.settle()
    space = ada.space(mal)
    feed = space.feed_store.by_writer[must(mal.space(ada).mine).writer]
    held = space.feed_store.entry(feed, feed.length - 1)
    assert held is not None and held.state is EntryState.UNREAD and held.key
    assert feed.opened == feed.length and feed.stamp <= MAX_STAMP, "it holds up nothing"
    assert [row.text for row in rows(ada, mal)] == ["before"]
    lines_work(ada, tmp_path)
    mal.send(ada, "after")
    ada.send(mal, "and mine")
    world.settle()
    assert [row.text for row in rows(ada, mal)] == ["before", "after", "and mine"]
    nothing_broke(ada, mal)


def test_message_at_the_ceiling_stands_where_it_arrived_and_hides_nothing(tmp_path: Path) -> None:
    world, ada, mal, _ = three(92)
    mal.send(ada, "before")
    world.settle()
    forge(mal, mal.space(ada), update(mal.space(ada), MAX_STAMP, ChatMessage(bytes(16), "of 2099")))
    world.settle()
    lines_work(ada, tmp_path)
    listed = ada.call(lambda calls: calls.chats()).chats
    assert next(chat for chat in listed if chat.unread).unread == 2
    after = message_id(rows(ada, mal)[-1].id)
    ada.send(mal, "later")
    world.settle()
    texts = [row.text for row in rows(ada, mal)]
    assert texts == ["before", "of 2099", "later"]
    found = messages.page(ada.engine.profile, ada.space(mal), 1, None, after, ms(ada)).messages
    assert [message.text for message in found] == ["later"], "whoever waits behind it is told"
    newest = messages.page(ada.engine.profile, ada.space(mal), 1, None, None, ms(ada)).messages
    assert [(message.text, message.ahead) for message in newest] == [("later", False)]
    whole = messages.page(ada.engine.profile, ada.space(mal), 9, None, None, ms(ada)).messages
    assert [message.ahead for message in whole] == [False, True, False]
    assert whole == sorted(whole, key=lambda message: message.at)
    nothing_broke(ada, mal)


def test_row_of_the_future_marks_and_swallows_nothing() -> None:
    world, ada, mal, _ = three(93)
    forge(mal, mal.space(ada), update(mal.space(ada), MAX_STAMP - 9, ChatMessage(bytes(16), "of 2099")))
    world.settle()
    ada.read(mal)
    assert unread(ada, mal) == 0
    mal.send(ada, "one")
    world.settle()
    assert unread(ada, mal) == 1
    chat = chat_id(ada.space(mal).id)
    ada.call(lambda calls: calls.delete_chat(chat))
    world.settle()
    assert not chats.is_listed(ada.engine.profile, ada.space(mal).id) and unread(ada, mal) == 0
    mal.send(ada, "two")
    world.settle()
    profile, space = ada.engine.profile, ada.space(mal)
    assert [row.text for row in rows(ada, mal) if messages.shown(profile, space, row)] == ["two"]
    assert chats.is_listed(profile, space.id) and unread(ada, mal) == 1


def test_message_from_long_ago_is_unread_where_it_stands() -> None:
    """A friend's clock is ten years behind: nobody reads past what it writes."""
    world = World(94)
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    for number in range(60):
        ada.send(bob, f"{number}")
    world.settle()
    ada.read(bob)
    world.settle()
    at_clock(bob, -10 * YEAR)
    bob.send(ada, "from 2016")
    world.settle()
    row = next(row for row in rows(ada, bob) if row.text == "from 2016")
    assert unread(ada, bob) == 1
    assert messages.model(ada.engine.profile, ada.space(bob), row, delivery.status_of(ada.space(bob)), ms(ada)).unread
    ada.read(bob)
    assert unread(ada, bob) == 0


# -- a clock that was wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("years", [10, -10])
def test_a_minute_in_another_decade_leaves_nothing_that_cannot_be_changed(years: int) -> None:
    world = World(95 + years)
    ada, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(ada, bob)
    world.run(660)
    first = ada.send(bob, "m1")
    world.settle()
    at_clock(ada, years * YEAR)
    wrong = OwnContact(identity(bob), name="Wrong clock", blocked=False)
    ada.do(lambda engine: engine.profile.note(ms(ada), wrong, OwnProfile(name="Ada of then")))
    ada.edit(bob, first, "edited then")
    ada.react(bob, first, "\N{THUMBS UP SIGN}")
    ada.send(bob, "sent then")
    world.settle()
    at_clock(ada, 0.0)
    right = OwnContact(identity(bob), name="Right again")
    desk.do(lambda engine: engine.profile.note(ms(desk), right, OwnProfile(name="Ada")))
    desk.edit(bob, first, "edited on the desktop")
    desk.react(bob, first, "\N{THUMBS UP SIGN}")
    world.settle()
    for device in (ada, desk):
        assert device.engine.profile.view.contacts[identity(bob)].name == "Right again"
        assert device.engine.profile.view.profile.name == "Ada"
    for device, other in ((ada, bob), (desk, bob), (bob, ada)):
        space = device.space(other)
        row = next(row for row in rows(device, other) if message_id(row.id) == first)
        assert row.text == "edited on the desktop"
        assert [mark.on for mark in timeline.marks_on(device.store, space.id, row.id) if mark.over] == [False]
        told = timeline.facts_of_kind(device.store, space.id, ABOUT_PROFILES)
        assert "Ada" in {one.name for one in fold_profiles(told, space.policy()).values()}
    ada.do(lambda engine: engine.profile.note(ms(ada), OwnContact(identity(bob), name="By the phone")))
    world.settle()
    assert desk.engine.profile.view.contacts[identity(bob)].name == "By the phone"
    ada.send(bob, "now, from the phone")
    world.settle()
    bob.send(ada, "and the answer")
    world.settle()
    for device, other in ((ada, bob), (desk, bob), (bob, ada)):
        assert [row.text for row in rows(device, other)][-2:] == ["now, from the phone", "and the answer"]
    nothing_broke(ada, desk, bob)


def test_rows_that_stand_ahead_of_a_clock_set_back_are_placed_in_slices(monkeypatch: Patch) -> None:
    monkeypatch.setattr(timeline, "SLICE", 7)
    world = World(97)
    (ada,) = world.linked("Ada", devices=1)
    at_clock(ada, 10 * YEAR)
    for number in range(30):
        ada.send(NOTES, f"{number}")
    at_clock(ada, 0.0)
    ada.send(NOTES, "now")
    world.settle()
    found = ada.rows(NOTES)
    assert [row.text for row in found] == [*[f"{number}" for number in range(30)], "now"]
    assert all(row.stands <= ms(ada) + 300_000 for row in found)
    at_clock(ada, 10 * YEAR + 86_400)
    again = ada.rows(NOTES)
    assert [row.text for row in again] == [row.text for row in found]
    assert all(row.placed is None for row in again), "their stamps have passed"
    assert ada.store.scan(Table.AHEAD) == []


def test_clock_set_back_below_everything_that_is_here_keeps_the_order() -> None:
    world = World(98)
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    for number in range(20):
        (ada if number % 2 else bob).send(bob if number % 2 else ada, f"{number}")
        world.settle()
    at_clock(ada, -10 * YEAR)
    bob.send(ada, "new")
    world.settle()
    assert [row.text for row in rows(ada, bob)] == [*[f"{number}" for number in range(20)], "new"]
    at_clock(ada, 0.0)
    assert [row.text for row in rows(ada, bob)] == [row.text for row in rows(bob, ada)]


# -- times and lifetimes of others ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [b"9" * 300, b"0" * 300 + b"5", "\u00b2".encode(), b"-1", b"1e9", b"", b"\xff"])
def test_lifetime_that_no_message_may_have_stops_nobody_from_writing(value: bytes, tmp_path: Path) -> None:
    world, ada, mal, _ = three(99)
    space = mal.space(ada)
    odd = [Set("lifetime", value), Set("title", "Bob\u202e\n\x00evil".encode())]
    mal.do(lambda engine: write_control(space, odd, ms(mal)))
    world.settle()
    ada.send(mal, "hello")
    world.settle()
    assert [row.text for row in rows(mal, ada)] == ["hello"]
    lines_work(ada, tmp_path)
    nothing_broke(ada, mal)


def test_times_at_the_ends_of_the_calendar_are_shown(tmp_path: Path) -> None:
    world, ada, mal, _ = three(100)
    for number, at in enumerate((0, 1, 253_402_300_799_999)):
        quoted = ChatMessage(bytes([number]) * 16, f"quoted {number}", at=at, source="somebody")
        lived = ChatMessage(bytes([9, number]) * 8, f"lives {number}", lifetime=2**31 - 1)
        write(mal, mal.space(ada), quoted)
        write(mal, mal.space(ada), lived)
    world.settle()
    assert len(rows(ada, mal)) == 6
    lines_work(ada, tmp_path)


# -- bounded work ---------------------------------------------------------------------------------------------------


def test_three_hundred_changes_of_a_contacts_name_are_noted_once_a_day() -> None:
    world, ada, mal, _ = three(101)
    before = must(ada.engine.profile.personal.mine).length
    for number in range(300):
        write(mal, mal.engine.profile.personal, OwnProfile(name=f"Mal {number}"))
        world.run(0.2)
    world.settle()
    feed = must(ada.engine.profile.personal.mine)
    assert feed.length - before <= 1
    world.run(86_400.0)
    assert ada.engine.profile.view.contacts[identity(mal)].profile == "Mal 299"
    assert must(ada.engine.profile.personal.mine).length - before <= 2


def test_one_more_reaction_reads_and_writes_as_much_as_the_first(monkeypatch: Patch) -> None:
    world = World(102)
    (ada,) = world.linked("Ada", devices=1)
    id_ = ada.send(NOTES, "hello")
    space = ada.space(NOTES)
    (row,) = ada.rows(NOTES)
    touched: list[int] = []
    real = type(ada.store).scan

    def scan(self: object, table: Table, *args: object, **given: object) -> list[tuple[bytes, bytes]]:
        found = real(self, table, *args, **given)  # type: ignore[arg-type]
        if table in (Table.FACT, Table.MARK, Table.ROW):
            touched[-1] += len(found)
        return found

    monkeypatch.setattr(type(ada.store), "scan", scan)
    emoji = [chr(0x1F300 + number) for number in range(600)]
    for start in range(0, 600, 100):
        touched.append(0)
        for one in emoji[start : start + 100]:
            write(ada, space, Reaction(row.id, one, True))
    assert touched[-1] <= 100 * 3 * 20, touched
    assert touched[-1] <= 2 * touched[1], touched
    assert len(timeline.marks_on(ada.store, space.id, row.id)) == 20
    prefix = space.id + row.key()
    ((_, stored),) = ada.store.scan(Table.ROW, prefix, prefix_end(prefix))
    assert len(stored) < 200, "the row holds no reactions"
    assert id_ == message_id(row.id)
    with pytest.raises(Exception, match="20 different"):
        ada.call(lambda calls: calls.react(chat_id(space.id), id_, "\N{HUNDRED POINTS SYMBOL}"))


def test_marks_go_with_their_message() -> None:
    world = World(107)
    (ada,) = world.linked("Ada", devices=1)
    kept, gone = ada.send(NOTES, "kept"), ada.send(NOTES, "gone")
    for id_ in (kept, gone):
        ada.react(NOTES, id_, "\N{THUMBS UP SIGN}")
    space = ada.space(NOTES)
    first, second = ada.rows(NOTES)
    ada.delete(NOTES, gone)
    world.settle()
    assert [len(timeline.marks_on(ada.store, space.id, row.id)) for row in (first, second)] == [1, 0]
    write(ada, space, Reaction(second.id, "\N{PARTY POPPER}", True))
    assert timeline.marks_on(ada.store, space.id, second.id) == []


def test_one_more_edit_reads_as_much_as_the_first(monkeypatch: Patch) -> None:
    world = World(103)
    (ada,) = world.linked("Ada", devices=1)
    ada.send(NOTES, "hello")
    space = ada.space(NOTES)
    (row,) = ada.rows(NOTES)
    touched = [0]
    real = type(ada.store).scan

    def scan(self: object, table: Table, *args: object, **given: object) -> list[tuple[bytes, bytes]]:
        found = real(self, table, *args, **given)  # type: ignore[arg-type]
        touched[0] += len(found) if table is Table.FACT else 0
        return found

    monkeypatch.setattr(type(ada.store), "scan", scan)
    for number in range(200):
        write(ada, space, Edit(row.id, f"edit {number}"))
    assert touched[0] <= 200 * 4
    assert ada.rows(NOTES)[0].text == "edit 199"


# -- what this version cannot read ----------------------------------------------------------------------------------


def test_message_of_a_later_version_is_shown_without_what_is_new_in_it() -> None:
    world, ada, mal, _ = three(104)
    space = mal.space(ada)
    feed = must(space.mine)
    root, text = dump_value(ChatMessage(bytes(16), "hello"))
    body = make_update(feed.core, feed.length, DocKind.CHAT, [(root, text[:-1] + ',"ext":[[7,"AAEC"]]}')])
    stamp = (ms(mal) + 1) << 16
    forge(mal, space, encode_plaintext(Plaintext(Kind.UPDATE, stamp, (), body, (Extension(9, b"later"),))))
    world.settle()
    assert [row.text for row in rows(ada, mal)] == ["hello"]
    assert ada.store.scan(Table.UNREAD) == []


def test_entry_that_an_earlier_version_could_not_read_is_read_after_the_update(monkeypatch: Patch) -> None:
    """The earlier version knows no deletions, no edits and no entries of more than one value."""
    world, ada, mal, _ = three(105)

    def decode(data: bytes) -> Plaintext:
        if data[0] == Kind.DELETION:
            raise DecodeError("not the text of an entry")
        return entries.decode_plaintext(data)

    def read_facts(*given: Any) -> list[Fact]:
        return [fact for fact in facts_of(*given) if not isinstance(fact.value, Edit)]

    gone, edited = mal.send(ada, "to be deleted"), mal.send(ada, "to be edited")
    world.settle()
    ada.stop()
    mal.delete(ada, gone)
    mal.edit(ada, edited, "edited")
    mal.send(ada, "plain")
    monkeypatch.setattr("sync.space.inbound.decode_plaintext", decode)
    monkeypatch.setattr("sync.space.facts.facts_of", read_facts)
    ada.boot()
    world.settle()
    assert [row.text for row in rows(ada, mal)] == ["to be deleted", "to be edited", "plain"]
    assert len(ada.store.scan(Table.UNREAD)) == 2
    ada.restart()
    world.settle()
    assert [row.text for row in rows(ada, mal)] == ["to be deleted", "to be edited", "plain"], "no update came"
    ada.stop()
    monkeypatch.undo()
    monkeypatch.setattr(facts, "READER", facts.READER + 1)
    ada.boot()
    world.settle()
    assert [(row.text, row.deleted) for row in rows(ada, mal)] == [("", True), ("edited", False), ("plain", False)]
    assert ada.store.scan(Table.UNREAD) == []
    nothing_broke(ada, mal)


def test_entry_of_another_suite_is_opened_after_the_update(monkeypatch: Patch) -> None:
    world, ada, mal, _ = three(106)
    first = must(mal.space(ada).mine).length

    def read_block(block: bytes, place: int | None = None) -> entries.BlockHeader:
        if place == first:
            raise DecodeError("an entry of another version or suite")
        return entries.read_block(block, place)

    monkeypatch.setattr("sync.space.inbound.read_block", read_block)
    mal.send(ada, "of a later suite")
    mal.send(ada, "plain")
    world.settle()
    assert [row.text for row in rows(ada, mal)] == ["plain"]
    ada.stop()
    monkeypatch.undo()
    monkeypatch.setattr(facts, "READER", facts.READER + 1)
    ada.boot()
    world.settle()
    assert [row.text for row in rows(ada, mal)] == ["of a later suite", "plain"]
    nothing_broke(ada, mal)


def test_item_that_this_version_cannot_read_is_none_of_the_past() -> None:
    """A device linked without history drops items of before; of what a later version says it cannot know."""
    text = encode_plaintext(Plaintext(Kind.UPDATE, 5 << 16, (), b""))
    item = Item(bytes(32), 7, bytes(8), bytes(32), text)
    assert is_past(item, 9 << 16)
    assert not is_past(item, 5 << 16)
    assert not is_past(replace(item, plaintext=b"\x09" + text[1:]), 9 << 16)


# -- for days -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_done_last_counts_everywhere_whatever_clocks_say(seed: int) -> None:
    run(seed, 14)


@pytest.mark.soak
def test_what_is_done_last_counts_everywhere_with_200_seeds() -> None:
    assert soak(range(FIRST, FIRST + 200), STEPS, LOG)
