"""Every call of the service that names a chat, a message, a person or a device, with a name that it may not take.

Each is refused with its code, and nothing is written.  The table is made from the signatures, so a new call is in it.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from identity.errors import KithkinError
from identity.phrase import new_phrase, normal_phrase, phrase_keys
from sync.service.ids import chat_id, device_id, identity_id
from sync.store.port import Table
from tests.support.calls import Calls
from tests.support.device import Device
from tests.support.streams import stream
from tests.support.world import World

CLUB = "club"
NAMES = ("chat", "message", "contact", "device", "reply", "upto", "id")
LEFT_OUT = {"read"}  # it waits
# What a call is given beside the names; a new argument has to be added here.
OTHERS: dict[str, Any] = {"text": "x", "name": "Neu", "title": "Neu", "emoji": "👍", "key": "lifetime", "value": "60"}


@dataclass
class Stage:
    """Ada (creator) with two devices, Bob (admin), Cem, who was removed, and Dee, whom only Bob knows."""

    world: World
    ada: Device
    desk: Device
    bob: Device
    cem: Device
    told: str = ""  # Ada's message in the club
    elsewhere: str = ""  # and her message to Bob

    def id_of(self, person: str) -> str:
        return identity_id(self.world.identities[person])

    @property
    def club(self) -> str:
        return chat_id(self.ada.space(CLUB).id)


@pytest.fixture(scope="module")
def stage() -> Stage:
    world = World("refused calls")
    ada, desk = world.linked("Ada")
    bob, cem, dee = world.person("Bob"), world.person("Cem"), world.person("Dee")
    for friend in (bob, cem):
        world.friends(ada, friend)
    world.friends(bob, dee)
    world.grouped(CLUB, ada, bob, cem)
    stage = Stage(world, ada, desk, bob, cem)
    ada.call(lambda calls: calls.chat_admin(stage.club, stage.id_of("Bob")))
    stage.told, stage.elsewhere = ada.send(CLUB, "hello"), ada.send("Bob", "between us")
    world.settle()
    ada.call(lambda calls: calls.chat_remove(stage.club, stage.id_of("Cem")))
    world.settle()
    return stage


def written(device: Device) -> dict[int, Any]:
    return {int(table): device.store.scan(table) for table in Table}


def refusal(by: Device, call: str, /, **given: Any) -> tuple[str, str]:
    """Code and sentence of a refused call, which wrote nothing."""
    before = written(by)
    with pytest.raises(KithkinError) as refused:
        by.call(lambda calls: getattr(calls, call)(**given))
    assert written(by) == before and by.engine.faults == []
    return refused.value.code, refused.value.message


def calls_with_names() -> dict[str, list[str]]:
    """Call -> the names that it takes."""
    found = {}
    for name, method in inspect.getmembers(Calls, inspect.iscoroutinefunction):
        taken = [one for one in inspect.signature(method).parameters if one in NAMES]
        if not name.startswith("_") and taken and name not in LEFT_OUT:
            found[name] = taken
    return found


NAMED_BY = calls_with_names()


def arguments(name: str) -> dict[str, Any]:
    """What else the call has to be given."""
    parameters = inspect.signature(getattr(Calls, name)).parameters.values()
    needed = [one.name for one in parameters if one.default is inspect.Parameter.empty]
    return {one: OTHERS[one] for one in needed if one not in (*NAMES, "self")}


def names_of_nothing(stage: Stage, name: str) -> list[str]:
    """No id, an id of another kind, an id that nobody has, the id of a thing that only somebody else has."""
    kind = {"chat": "chat", "contact": "id", "device": "dev"}.get(name, "msg")
    found = ["", " ", "x", "é_\0", "_" * 999, f"{kind}_"]
    found += [f"{kind}_{body}" for body in ("A" * 31, "A" * 32, "1" * 32, "A" * 33)]
    ids = {
        "chat": [stage.club, chat_id(stage.bob.space("Dee").id)],
        "id": [stage.id_of("Bob"), stage.id_of("Dee")],
        "dev": [device_id(one.engine.profile.account.device) for one in (stage.ada, stage.bob)],
        "msg": [stage.told],
    }
    return found + [id_ for other, (first, *rest) in ids.items() for id_ in ((first,) if other != kind else rest)]


def test_at_least_twenty_calls_take_a_name() -> None:
    assert len(NAMED_BY) >= 20


@pytest.mark.parametrize("name", NAMED_BY)
def test_a_name_of_nothing_is_not_found(stage: Stage, name: str) -> None:
    desk = device_id(stage.desk.engine.profile.account.device)
    good = {"chat": stage.club, "contact": stage.id_of("Bob"), "device": desk}
    for bad in NAMED_BY[name]:
        for text in names_of_nothing(stage, bad):
            given = {one: good.get(one, stage.told) for one in NAMED_BY[name]} | {bad: text} | arguments(name)
            code, message = refusal(stage.ada, name, **given)
            assert code == "not_found" and len(message) > 10, (bad, text)


@pytest.mark.parametrize(
    ("call", "given"),
    [
        ("edit", {"message": "", "text": "x"}),
        ("delete", {"message": ""}),
        ("delete", {"message": "", "everyone": True}),
        ("react", {"message": "", "emoji": "👍"}),
        ("cancel", {"message": ""}),
        ("send", {"reply": "", "text": "x"}),
        ("mark", {"upto": ""}),
        ("message", {"id": ""}),
    ],
)
def test_a_message_of_another_chat_is_not_found(stage: Stage, call: str, given: dict[str, Any]) -> None:
    told = {key: value or stage.elsewhere for key, value in given.items()}
    assert refusal(stage.ada, call, chat=stage.club, **told)[0] == "not_found"


def test_devices_that_nobody_shuts_out(stage: Stage) -> None:
    """Oneself, one of somebody else's, one that nobody has, the last one."""
    mine, his = (device_id(one.engine.profile.account.device) for one in (stage.ada, stage.bob))
    for call in ("device_revoke", "device_revocation"):
        for device, code in ((mine, "not_allowed"), (his, "not_found"), ("dev_" + "B" * 32, "not_found")):
            assert refusal(stage.ada, call, device=device)[0] == code, (call, device)
        assert refusal(stage.bob, call, device=his)[0] == "not_allowed", "his only device"


def test_people_whom_nobody_removes(stage: Stage) -> None:
    """The creator, oneself, somebody gone, somebody who never was in; and anybody, for somebody who is out."""
    for by, person, code in (
        (stage.bob, "Ada", "not_allowed"),
        (stage.bob, "Bob", "not_allowed"),
        (stage.ada, "Ada", "not_allowed"),
        (stage.ada, "Cem", "not_found"),
        (stage.bob, "Cem", "not_found"),
        (stage.bob, "Dee", "not_found"),
        (stage.cem, "Bob", "not_allowed"),
    ):
        assert refusal(by, "chat_remove", chat=stage.club, contact=stage.id_of(person))[0] == code, (by.name, person)
    assert refusal(stage.cem, "send", chat=stage.club, text="still here?")[0] == "not_allowed"
    assert refusal(stage.ada, "chat_add", chat=stage.club, contact=stage.id_of("Bob"))[0] == "not_allowed"
    assert refusal(stage.bob, "chat_admin", chat=stage.club, contact=stage.id_of("Cem"))[0] == "not_found"


@pytest.mark.parametrize(
    ("key", "value"),
    [("lifetime", "-1"), ("lifetime", "9" * 300), ("lifetime", "x"), ("history", "some"), ("colour", "red")],
)
def test_settings_that_are_none_are_refused(stage: Stage, key: str, value: str) -> None:
    assert refusal(stage.ada, "chat_set", chat=stage.club, key=key, value=value)[0] == "usage"


def test_a_phrase_with_one_wrong_word_is_refused_or_somebody_elses() -> None:
    """One list word in 256 fits the checksum by chance: the words are then another identity's, never mine."""
    words = new_phrase(stream("phrase")).split()
    mine = phrase_keys(" ".join(words)).root.public
    others = sorted(set(new_phrase(stream("more")).split()) - set(words))
    taken = 0
    for place, word in product(range(24), others):
        try:
            other = phrase_keys(" ".join([*words[:place], word, *words[place + 1 :]])).root.public
        except KithkinError as refused:
            assert refused.code == "phrase_invalid" and word not in refused.message
            continue
        taken += 1
        assert other != mine
    assert taken < len(others)
    for text in (" ".join(words[:-1]), " ".join([*words, words[0]]), " ".join(words).replace(words[5], words[5] + "x")):
        with pytest.raises(KithkinError) as out:
            normal_phrase(text)
        assert out.value.code == "phrase_invalid"
