"""A stolen phone certifies devices by the hundred, in chains and in circles, one of them again by all the others.

Held by: the fold over statements costs what they weigh (`identity/device_set.py`), messages and operations carry the
decisive ones alone (`sendable`, `evidence`), and whoever shuts a device out also shuts out by name what fell with it
where no operation could carry the proof (`sync/engine/revocation.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from unittest.mock import patch

from crdt.log.manifest import core_key
from crdt.space.consent import sign_consent
from crdt.space.control import Admit
from identity.device import DeviceKeys, new_device
from identity.device_set import Fold, fold
from identity.keys import SigningKey
from identity.statement import (
    MAX_STATEMENT_SET,
    MAX_STATEMENTS,
    Certificate,
    Statement,
    certificate_body,
    counter_sign,
    issue,
)
from sync.account import directory
from sync.engine.introduction import FOLLOWS, encode_follows
from sync.space.epochs import open_epoch
from tests.support.device import Device
from tests.support.household import CLUB, Household, everywhere, key_of, shut_out, speak

MANY = 100  # statements in each heap
PART = 60  # statements in one message


def play(seed: str) -> None:
    home = Household(seed)
    world, thief, helper = home.world, home.phone, home.mal
    rng, puppet = thief.rng, new_device(thief.rng, thief.now)
    others = [new_device(rng, thief.now) for _ in range(MANY)]
    heaps = certificates(home, puppet, others)

    # The puppet comes into every chat while the phone is hers by all that anybody knows.
    feeds = {}
    for space in list(thief.engine.profile.spaces.values()):
        key = feeds[space.id] = SigningKey.generate(rng)
        assert space.mine is not None
        prekey = puppet.prekey.public
        consent = sign_consent(key, space.id, space.mine.core, identity=None, device=puppet.id, prekey=prekey)
        admit = Admit(key.public, puppet.id, tuple(c.encoded for c in heaps["straight"]), prekey, consent)
        statements = thief.engine.profile.directory.encoded(home.ada, key_of(thief))
        admit = Admit(key.public, puppet.id, (*statements, *admit.statements), prekey, consent)
        thief.do(lambda engine, space=space, admit=admit: open_epoch(space, int(thief.now * 1000), [admit]))  # type: ignore[misc]
    world.run(3)
    assert puppet.id in home.bob.space(CLUB).devices() and puppet.id in home.desk.space(CLUB).devices()
    home.count_from_here()

    with counting() as visited:
        messages = 0
        for heap in heaps.values():
            for start in range(0, len(heap), PART):
                part = [one.encoded for one in heap[start : start + PART]]
                for peer in list(helper.engine.peers.values()):
                    if peer.device in (key_of(home.bob), key_of(home.desk)):
                        body = encode_follows(home.ada, part, ())
                        helper.do(lambda engine, peer=peer, body=body: peer.mux.send(peer.main, FOLLOWS, body))  # type: ignore[misc]
                        messages += 1
                world.run(0.2)
        total = sum(map(len, heaps.values())) + 8
        assert visited[0] <= 4 * messages * total, (visited[0], messages, total)

    world.cut(thief, [home.desk, home.bob])
    shut = 0
    shut_out(home.desk, key_of(thief))
    while strangers := [one for one in active(home.desk, home) if one != key_of(home.desk)]:
        shut_out(home.desk, strangers[0])  # the list shows them, and she knows none of them
        shut += 1
    assert shut <= 6, shut
    world.settle()
    club = thief.space(CLUB)
    for number in range(3):
        speak(helper, helper.space(CLUB), feeds[club.id], f"from the puppet {number}")
        world.run(1)
    home.desk.send(CLUB, "without all of them")
    friends = {key_of(home.bob), key_of(home.mal)}
    world.heal()
    home.promises(also=["without all of them"])
    assert not {text for text in everywhere(home.honest) if text.startswith("from the puppet")}
    for device in home.honest:
        profile = device.engine.profile
        for space in profile.spaces.values():
            hers = {w.device for w in space.state.writers.values() if w.open and not w.out} - friends
            assert hers <= {key_of(home.desk)}, (device.name, space.kind)
            assert not space.state.open(core_key(feeds[space.id].public)) if space.id in feeds else True, space.kind
        told = profile.directory.encoded(home.ada)
        assert len(told) <= MAX_STATEMENTS and sum(map(len, told)) <= MAX_STATEMENT_SET
        starts = device.boots
        device.restart()
        assert device.boots == starts + 1 and device.engine.profile.directory.is_active(key_of(home.desk))
    world.settle()


def active(device: Device, home: Household) -> list[bytes]:
    return [one.id for one in device.engine.profile.directory.active(home.ada)]


def certificates(home: Household, puppet: DeviceKeys, others: list[DeviceKeys]) -> dict[str, list[Certificate]]:
    """All that the phone's keys and theirs can sign: a fan that meets in the puppet, which is too young for one of the
    six places, a chain, and a circle."""
    profile, now = home.phone.engine.profile, int(home.phone.now)
    mine, generation = profile.account.keys, profile.directory.generation(home.ada)
    links = [new_device(home.phone.rng, home.phone.now) for _ in range(MANY)]

    def certify(by: DeviceKeys, one: DeviceKeys, created: int) -> Certificate:
        signer = by.signing.public, by.agreement.public
        body = certificate_body(
            home.ada, one.signing.public, one.agreement.public, created=created, generation=generation, signer=signer
        )
        return issue(body, counter_sign(body, one.signing), by.signing)

    return {
        "straight": [certify(mine, puppet, now + 9)],
        "fan": [certify(mine, one, now + 1) for one in others],
        "meets": [certify(one, puppet, now + 9) for one in sorted(others, key=lambda one: one.id)[6:]],
        "chain": [certify(a, b, now + 9) for a, b in pairwise([puppet, *links])],
        "circle": [certify(links[-1], puppet, now + 9)],
    }


@contextmanager
def counting() -> Iterator[list[int]]:
    """How many statements the folds of all devices have looked at."""
    visited = [0]

    def counted(statements: Iterable[Statement], root: bytes) -> Fold | None:
        given = list(statements)
        visited[0] += len(given)
        return fold(given, root)

    with patch.object(directory, "fold", counted):
        yield visited
