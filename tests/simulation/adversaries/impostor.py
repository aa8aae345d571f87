"""Somebody found an invite and photographed a pairing code: he uses them twice, late, as somebody else, with bad keys.

Held by: an invite belongs to the first identity that proved itself with it (`Invites._joined`), an expiry is judged by
the inviter's clock, keys that agree on nothing are refused where they are read, the D of the handshake is that of the
named device (`identity/inviter.py`), and six digits that show where the owner is decide who links
(`identity/joiner.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp

from crdt.space.consent import sign_consent
from identity.inner import SESSION
from identity.invite import Person
from identity.keys import SigningKey
from sync.engine.effects import ContactMet, DeviceLinked, OnboardingFailed
from sync.engine.onboarding import invite as invites
from sync.engine.onboarding.messages import encode_answer
from tests.support.device import Device
from tests.support.household import written
from tests.support.world import World

LOW_ORDER = (bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f")
Lie = Callable[[Person], Person]
BOUND = 24  # entries that Ada may write for one friend and all of it


def play(seed: str) -> None:
    world = World(seed)
    ada, bob, mal, eve = (world.person(name) for name in ("Ada", "Bob", "Mal", "Eve"))
    before = written(ada)
    text = ada.invite()

    # Before the friend came: every way in which he may say who he is and is not, signed as far as it can be.
    def as_bob(person: Person) -> Person:
        theirs = bob.engine.profile.account
        told = tuple(bob.engine.profile.directory.sent(theirs.identity))
        return replace(person, identity=theirs.identity, device=theirs.device, statements=told)

    lies: list[Lie] = [as_bob, *(with_prekey(key) for key in LOW_ORDER)]
    for lie in lies:
        assert tries(world, mal, text, lie) != "met"
        assert not contacts(ada), contacts(ada)
    for key in LOW_ORDER:
        scalar = mal.rng(31) + bytes(1)
        forged = (
            crypto_scalarmult_ed25519_base_noclamp(scalar) + scalar
        )  # good for the neutral point, where that counts
        with patch.object(invites, "encode_answer", lambda w, c, key=key, forged=forged: encode_answer(key, forged)):
            assert tries(world, mal, text) != "met"
        assert not contacts(ada), contacts(ada)
    assert tries(world, bob, text) == "met"
    assert contacts(ada) == ["Bob"]
    # After it: used by a second person, again by the first, and late, with a clock set back.
    assert tries(world, mal, text) == "already_used"
    assert tries(world, bob, text) == "met"
    late = ada.do(lambda engine: engine.onboarding.invites.create(ada.now, 60, ada.told)).payload.text
    world.run(90)
    eve.skew = -3600.0
    eve.restart()
    assert tries(world, eve, late) == "expired"
    eve.skew = 0.0
    eve.restart()

    # The code of her new tablet: he is first, and she types what he tells her to guess.
    tablet = world._device("Ada", "Ada-tablet")
    code = tablet.boot_linking("tablet", "tablet")
    mal.steps.clear()
    approvals = mal.engine.onboarding.approvals
    mal.do(lambda engine: approvals.begin(approvals.check(code, mal.now), True, mal.now))
    world.run(3)
    for guess in ("000000", "111111", "222222", "333333"):
        tablet.digits = guess
        tablet.type_digits()
        world.run(3)
    assert not any(isinstance(step, DeviceLinked) for step in (*mal.steps, *tablet.steps))
    assert len(mal.engine.profile.directory.active(world.identities["Mal"])) == 1
    world.forget(tablet.name)
    new = world.link(ada, "tablet")

    ada.send(bob, "for Bob alone")
    world.settle()
    assert world.texts(bob, ada) == world.texts(new, "Bob") == ["for Bob alone"]
    for stranger in (mal, eve):
        assert not world.texts(stranger) and not contacts(stranger), stranger.name
    for device in (ada, bob, new):
        assert [device.engine.faults, device.errors] == [[], []], device.name
    profile = ada.engine.profile
    assert contacts(ada) == contacts(new) == ["Bob"]
    assert set(profile.spaces) - set(profile.view.chats) == {profile.personal.id}, "a space that came to nothing"
    assert sum(chat.kind == "direct" for chat in profile.view.chats.values()) == 1
    assert written(ada) - before <= BOUND, written(ada) - before


def with_prekey(key: bytes) -> Lie:
    return lambda person: replace(person, prekey=key)


def tries(world: World, device: Device, text: str, lie: Lie = lambda person: person) -> str:
    """What comes of it when a device uses an invite, perhaps as somebody else: "met", or the code of the failure."""
    onboarding, real = device.engine.onboarding.invites, device.engine.onboarding.invites.me
    said = lie(real())

    def consent(key: SigningKey, space: bytes, core: bytes, **_: object) -> bytes:
        """For whom he says to be."""
        return sign_consent(key, space, core, identity=said.identity, device=said.device, prekey=said.prekey)

    device.steps.clear()
    with patch.object(onboarding, "me", lambda: said), patch.object(invites, "sign_consent", consent):
        device.do(lambda engine: onboarding.accept(text, device.now, patience=0.0))
        end = world.now + 2 * SESSION
        while not (found := [s for s in device.steps if isinstance(s, ContactMet | OnboardingFailed)]):
            world.run(0.5)
            if world.now > end:
                return "nothing"
    world.run(1)
    (last,) = found
    return last.code if isinstance(last, OnboardingFailed) else "met"


def contacts(device: Device) -> list[str]:
    return [one.name for one in device.call(lambda calls: calls.contacts()).contacts]
