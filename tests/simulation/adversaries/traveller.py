"""A member stamps his entries as he likes: the last moment that there is, none, beyond all, and back and forth.

A stamp beyond the ceiling is no entry (`decode_plaintext`), one ahead of now stands where it arrived until its time has
come (`places`), and what replaces what is a matter of causes (`over`): so nobody's later word is hidden by his.
"""

from __future__ import annotations

from collections.abc import Sequence

from crdt.docs.chat import Edit, Message, Reaction, Receipt
from crdt.docs.ids import message_id, writer_id
from crdt.docs.kinds import DocKind
from crdt.docs.schema import Value, dump_value
from crdt.docs.update import make_update
from crdt.log.entry import Kind
from crdt.log.stamp import MAX_STAMP, make_stamp
from sync.service import messages, models
from sync.service.ids import chat_id
from tests.support.adversary import CLUB, Cast
from tests.support.device import Device
from tests.support.liar import work_of

BEYOND = "from after the end of time"
YEARS = 10 * 365 * 86_400_000


def play(seed: str) -> None:
    cast = Cast(seed)
    world, ada, mal, bob, rng = cast.world, cast.ada, cast.mal, cast.bob, cast.mal.rng
    ada.send(CLUB, "Ada first")
    world.settle()
    for device in cast.honest:
        device.read(CLUB)
    before = {device: work_of(device) for device in cast.honest}
    author = cast.club.members.author(cast.feed.core)
    assert author is not None
    (row,) = mal.rows(CLUB)
    now, nonce = cast.now(mal), rng(16)
    own = message_id(author[1], nonce)
    mine = writer_id(cast.feed.core)
    stamps = [MAX_STAMP, 0, make_stamp(now + YEARS), make_stamp(now - YEARS), MAX_STAMP - 1, 1, make_stamp(now)]
    told = [f"message {n} of {len(stamps)}" for n in range(len(stamps))]
    for stamp, text in zip(stamps, told, strict=True):
        _stamped(cast, stamp, Message(rng(16), text))
    for stamp in (MAX_STAMP + 1, 1 << 63, (1 << 64) - 1):
        _stamped(cast, stamp, Message(rng(16), BEYOND))
    _stamped(cast, MAX_STAMP, Message(nonce, "as he said it"))
    for n, stamp in enumerate(stamps):  # the last one is his last word, whatever its stamp
        _stamped(cast, stamp, Edit(own, f"as he said it, {n}"), Reaction(row.id, "\N{ALARM CLOCK}", n % 2 == 0))
        _stamped(cast, stamp, Receipt(((mine, 2**50),)))
    world.settle()
    last = f"as he said it, {len(stamps) - 1}"

    ada.send(CLUB, "Ada's newest word")
    world.settle()
    for device in cast.honest:
        newest = _page(cast, device)[-1]
        assert newest.text == "Ada's newest word", "what comes later stands later"
        texts = world.texts(device, CLUB)
        assert {*told, last} <= set(texts) and BEYOND not in texts, texts
        chats = {chat.id: chat for chat in device.call(lambda calls: calls.chats()).chats}
        chat = chats[chat_id(device.space(CLUB).id)]
        assert chat.last is not None and chat.preview == "Ada's newest word"
        assert chat.unread == len(told) + 1 + (device is bob), chat.unread
    (marked,) = [m for m in _page(cast, ada) if m.text == "Ada first"]
    assert {emoji: len(people) for emoji, people in marked.reactions.items()} == {"\N{ALARM CLOCK}": 1}

    # Ada deletes the chat for herself: what comes after that still shows, and nothing of what came before.
    chat_of_ada = chat_id(ada.space(CLUB).id)
    ada.call(lambda calls: calls.delete_chat(chat_of_ada))
    bob.send(CLUB, "after the deletion")
    world.settle()
    assert world.texts(ada, CLUB) == ["after the deletion"]
    for device in cast.honest:
        work = work_of(device) - before[device]
        assert work.calls < 3000 and work.held < 60_000, work
    both = [world.texts(device, CLUB) for device in cast.honest]
    for device in cast.honest:
        assert [device.engine.faults, device.errors] == [[], []], device.name
    assert set(both[0]) <= set(both[1]) and BEYOND not in both[1]
    bob.send(CLUB, "still here.")
    world.settle()
    assert world.texts(ada, CLUB)[-1] == world.texts(bob, CLUB)[-1] == "still here."


def _stamped(cast: Cast, stamp: int, *values: Value) -> None:
    dumped = [dump_value(value) for value in values]
    body = make_update(cast.feed.core, cast.feed.length, DocKind.CHAT, dumped)
    cast.seals(Kind.UPDATE, body, stamp)


def _page(cast: Cast, device: Device) -> Sequence[models.Message]:
    return messages.page(device.engine.profile, device.space(CLUB), 50, None, None, cast.now(device)).messages
