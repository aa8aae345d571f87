"""Receipts follow from the read mark and the receipts that are there: told once, at most once a minute, never lost."""

from __future__ import annotations

from functools import partial

from crdt.docs.chat import Receipt
from crdt.docs.facts import ABOUT_READING
from sync.engine.engine import Engine
from sync.service.ids import chat_id, message_id
from sync.space import timeline
from tests.support.calls import Calls, opened, result_of
from tests.support.device import Device
from tests.support.streams import stream
from tests.support.world import Message, World


def receipts(device: Device, chat: Device) -> list[int]:
    """The Unix second of each receipt that the device itself wrote in a chat, and nothing told twice."""
    space = device.space(chat)
    core = space.mine.core if space.mine is not None else b""
    facts = timeline.facts_of_kind(device.store, space.id, ABOUT_READING)
    mine = sorted((f for f in facts if f.core == core and isinstance(f.value, Receipt)), key=lambda f: f.stamp)
    told = [pair for fact in mine if isinstance(fact.value, Receipt) for pair in fact.value.upto]
    assert len(told) == len(set(told))
    return [fact.stamp // 65_536_000 for fact in mine]


def pair(seed: str, devices: int = 1) -> tuple[World, Device, tuple[Device, ...]]:
    """Ada, and Ben with his devices; they know each other."""
    world = World(seed)
    ada, ben = world.person("Ada"), world.linked("Ben", devices=devices)
    world.friends(ada, ben[0])
    return world, ada, ben


def test_first_read_mark_is_sent_at_once_and_the_next_after_a_minute() -> None:
    world, ada, (ben,) = pair("minute")
    for text in ("one", "two", "three"):
        ada.send(ben, text)
        world.settle()
        ben.read(ada)
        world.settle()
    first = receipts(ben, ada)
    assert len(first) == 1
    world.run(61)
    told = receipts(ben, ada)
    assert len(told) == 2 and told[1] - told[0] >= 60
    world.run(120)
    assert receipts(ben, ada) == told


def test_read_mark_pending_at_shutdown_is_sent_after_restart() -> None:
    world, ada, (ben,) = pair("stop")
    ada.send(ben, "one")
    world.settle()
    ben.read(ada)
    ada.send(ben, "two")
    world.settle()
    ben.read(ada)
    assert len(receipts(ben, ada)) == 1
    ben.stop()
    world.run(90)
    ben.boot()
    world.settle()
    assert len(receipts(ben, ada)) == 2
    assert world.of(ada, ben) == [Message("one", "read"), Message("two", "read")]


def test_commands_without_a_node_send_at_most_one_receipt_a_minute() -> None:
    """Each command is an engine of its own over the same store, without a network."""
    world, ada, (ben,) = pair("commands")
    for text in ("one", "two", "three", "four"):
        ada.send(ben, text)
    world.settle()
    chat = ben.space(ada).id
    ben.stop()
    for row in timeline.page(ben.store, chat, 10):
        world.run(5)
        now = ben.now
        engine = Engine(ben.store, stream(f"command {now}"), now, ben.kem)
        engine.tick(now)
        calls = Calls(opened(engine, partial(float, now), partial(engine.tick, now)))
        result_of(calls.mark(chat_id(chat), upto=message_id(row.id)))
    ben.boot()
    assert len(receipts(ben, ada)) == 1
    world.run(70)
    told = receipts(ben, ada)
    assert len(told) == 2 and told[1] - told[0] >= 60


def test_only_the_device_that_read_sends_the_receipt() -> None:
    world, ada, (phone, desk) = pair("devices", devices=2)
    ada.send(phone, "one")
    world.settle()
    phone.read(ada)
    world.settle()
    world.run(200)
    assert (len(receipts(phone, ada)), len(receipts(desk, ada))) == (1, 0)
