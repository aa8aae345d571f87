"""Invites as transcripts: two people connect, and everybody else is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from identity.device import DeviceKeys
from identity.inner import SESSION, Failed, Send
from identity.invite import DirectSpace, InviteAsked, InviteeJoined, Person, SpaceOffered, person_of
from identity.invite_code import InviteCode, new_invite
from identity.invitee import Invitee
from identity.inviter import Inviter
from identity.statement import revoke
from tests.support.people import Family, certify, family, names_of
from tests.support.streams import stream

NOW = 1_800_000_000.0
OUTER = b"o" * 64
ADA, BOB = family("ada", 2), family("bob", 2)
CODE = new_invite(stream("invite"), ADA.identity, NOW, name="Ada")
SPACE = DirectSpace(b"s" * 32, ADA.devices[0].signing.public, b"z" * 32, b"extra")


def me(who: Family, device: int = 0, profile: bytes = b"") -> Person:
    return person_of(who.identity, who.statements, who.devices[device], profile)


def inviter(
    who: Family = ADA,
    device: int = 0,
    used_by: bytes | None = None,
    code: InviteCode = CODE,
    outer: bytes = OUTER,
    keys: DeviceKeys | None = None,
) -> Inviter:
    return Inviter(
        code,
        keys=keys or who.devices[device],
        me=me(who, device, b"Ada"),
        used_by=used_by,
        outer_hash=outer,
        rng=stream("inviter"),
    )


def invitee(who: Family = BOB, device: int = 0, code: InviteCode = CODE, outer: bytes = OUTER) -> Invitee:
    return Invitee(
        code.payload,
        keys=who.devices[device],
        me=me(who, device, b"Bob"),
        outer_hash=outer,
        rng=stream("invitee"),
    )


@dataclass
class Talk:
    ada: Inviter
    bob: Invitee
    space: DirectSpace = SPACE
    late_refusal: str = ""
    early_refusal: str = ""
    bend: Callable[[str, int, bytes], bytes | None] = lambda who, n, data: data
    now: float = NOW
    seen: list[str] = field(default_factory=list)
    kept: dict[str, object] = field(default_factory=dict)
    sent: dict[str, list[bytes]] = field(default_factory=lambda: {"ada": [], "bob": []})

    def run(self) -> list[str]:
        queue: list[tuple[str, object]] = [("bob", e) for e in self.bob.start(self.now)]
        while queue:
            who, effect = queue.pop(0)
            queue += self.act(who, effect)
        return self.seen

    def act(self, who: str, effect: object) -> list[tuple[str, object]]:
        if isinstance(effect, Send):
            self.sent[who].append(effect.data)
            data = self.bend(who, len(self.sent[who]), effect.data)
            if data is None:
                return []
            if who == "ada":
                return [("bob", e) for e in self.bob.receive(data, self.now)]
            return [("ada", e) for e in self.ada.receive(data, self.now)]
        word = f"Failed {effect.code}" if isinstance(effect, Failed) else type(effect).__name__
        self.seen.append(f"{who} {word}")
        self.kept[word] = effect
        if isinstance(effect, InviteAsked):
            if self.early_refusal:
                return [("ada", e) for e in self.ada.refuse(self.early_refusal)]
            return [("ada", e) for e in self.ada.offer(self.space, self.now)]
        if isinstance(effect, SpaceOffered):
            return [("bob", e) for e in self.bob.join(b"writer and consent", self.now)]
        if isinstance(effect, InviteeJoined):
            if self.late_refusal:
                return [("ada", e) for e in self.ada.refuse(self.late_refusal)]
            return [("ada", e) for e in self.ada.finish(self.now)]
        return []


def test_invite_connects_two_people_and_proves_both() -> None:
    told = Talk(inviter(), invitee())
    assert told.run() == [
        "ada InviteAsked",
        "bob SpaceOffered",
        "ada InviteeJoined",
        "ada InviteDone",
        "bob InviteDone",
    ]
    assert told.kept["InviteAsked"] == InviteAsked(me(BOB, 0, b"Bob"))
    assert told.kept["SpaceOffered"] == SpaceOffered(me(ADA, 0, b"Ada"), SPACE)
    assert told.kept["InviteeJoined"] == InviteeJoined(me(BOB, 0, b"Bob"), b"writer and consent")


def test_any_device_of_the_inviter_answers() -> None:
    assert Talk(inviter(device=1), invitee(device=1)).run()[-1] == "bob InviteDone"


def test_used_invite_is_open_to_the_same_identity_only() -> None:
    assert Talk(inviter(used_by=BOB.identity), invitee(device=1)).run()[-1] == "bob InviteDone"
    eve = family("eve")
    told = Talk(inviter(used_by=BOB.identity), invitee(eve))
    assert told.run() == ["ada Failed already_used", "bob Failed already_used"]


def test_second_of_two_concurrent_invitees_is_refused_at_join() -> None:
    told = Talk(inviter(), invitee(), late_refusal="already_used")
    assert told.run()[-2:] == ["ada Failed already_used", "bob Failed already_used"]


def test_a_blocked_person_is_refused_without_a_reason() -> None:
    told = Talk(inviter(), invitee(), early_refusal="not_allowed")
    assert told.run() == ["ada InviteAsked", "ada Failed not_allowed", "bob Failed not_allowed"]
    odd = Talk(inviter(), invitee(), early_refusal="reason_of_tomorrow")
    assert odd.run()[-1] == "bob Failed not_allowed"


def test_invite_expires_by_the_clock_of_either_side() -> None:
    late = NOW + 8 * 86_400
    told = Talk(inviter(), invitee(), now=late)
    assert told.run() == ["bob Failed expired"]
    (first,) = invitee().start(NOW)
    assert isinstance(first, Send)
    assert names_of(inviter().receive(first.data, late)) == ["Send", "Send", "Failed"]


def test_own_invite_is_refused_on_both_sides() -> None:
    assert Talk(inviter(), invitee(ADA, 1)).run() == ["bob Failed own_code"]
    forced = invitee(ADA, 1)
    forced._payload = replace(CODE.payload, identity=BOB.identity)  # a client that does not look
    assert Talk(inviter(), forced).run() == ["ada Failed own_code", "bob Failed own_code"]


@pytest.mark.parametrize(
    "wrong",
    [
        replace(CODE.payload, secret=bytes(32)),
        replace(CODE.payload, name="Eve"),
        replace(CODE.payload, expires=CODE.payload.expires + 1),
        replace(CODE.payload, identity=BOB.identity),
    ],
)
def test_peer_with_another_invite_text_is_a_stray_at_the_first_message(wrong: object) -> None:
    code = replace(CODE, payload=wrong)  # type: ignore[arg-type]
    eve = family("eve")
    assert Talk(inviter(), invitee(eve, code=code)).run() == ["ada Stray"]


def test_replay_on_another_connection_and_junk_are_strays() -> None:
    assert Talk(inviter(outer=b"p" * 64), invitee()).run() == ["ada Stray"]
    for junk in (b"", bytes(96), bytes(70_000)):
        assert names_of(inviter().receive(junk, NOW)) == ["Stray"]


def test_statements_must_certify_the_device_that_speaks() -> None:
    eve = family("eve")
    liar = invitee(eve)
    liar._me = me(BOB, 0, b"Bob")  # Bob's statements, Eve's keys
    assert Talk(inviter(), liar).run() == ["ada Failed not_allowed", "bob Failed not_allowed"]
    gone = revoke(
        BOB.identity, BOB.devices[0].id, created=9, generation=BOB.statements[0].generation, signer=None, key=BOB.root
    )
    revoked = replace(BOB, statements=(*BOB.statements, gone))
    assert Talk(inviter(), invitee(revoked)).run() == ["ada Failed not_allowed", "bob Failed not_allowed"]


def test_device_certified_with_the_key_of_another_is_not_taken_for_that_person() -> None:
    """Eve certifies a device of hers with Bob's D.  Bob, speaking as himself, is not taken for Eve's device."""
    eve = family("eve")
    borrowed = DeviceKeys(eve.devices[0].signing, BOB.devices[0].agreement, BOB.devices[0].prekeys)
    as_eve = replace(
        eve, devices=(borrowed,), statements=(*eve.statements, certify(eve.identity, eve.devices[0], borrowed, 9))
    )
    ada, bob = inviter(), invitee()
    (first,) = bob.start(NOW)
    assert isinstance(first, Send)
    answer, asked = ada.receive(first.data, NOW)
    assert isinstance(answer, Send) and isinstance(asked, InviteAsked)
    ada._person = me(as_eve)  # whatever made Ada think so: the proofs name the ids
    (offer,) = ada.offer(SPACE, NOW)
    assert isinstance(offer, Send) and bob.receive(answer.data, NOW) == []
    assert names_of(bob.receive(offer.data, NOW)) == ["Failed"]


def test_invite_that_claims_another_identity_is_refused_by_the_invitee() -> None:
    """Mallory writes an invite with Ada's root key and his own I.  He cannot answer as a device of hers."""
    mallory = family("mallory")
    fake = replace(CODE, payload=replace(CODE.payload, key=mallory.root.public), key=mallory.root)
    told = Talk(inviter(mallory, code=fake), invitee(code=fake))
    assert told.run() == ["ada InviteAsked", "bob Failed not_allowed"]
    named = inviter(mallory, code=fake)
    named._me = me(ADA, 0, b"Ada")  # Ada's statements, which Mallory has seen, and not her D
    assert Talk(named, invitee(code=fake)).run() == ["ada InviteAsked", "bob Failed not_allowed"]


def test_stolen_invite_key_gives_no_way_to_join_as_another() -> None:
    """With the secret of I anybody can write message 1 in Bob's name.  Without Bob's D he reads nothing and joins
    nothing, so nothing counts before JOIN."""
    told = Talk(inviter(), invitee(), bend=lambda who, n, data: None if (who, n) == ("bob", 2) else data)
    assert told.run() == ["ada InviteAsked", "bob SpaceOffered"]
    assert names_of(told.ada.receive(bytes(100), NOW)) == ["Failed"]


@pytest.mark.parametrize("who", ["ada", "bob"])
@pytest.mark.parametrize("how", ["cut", "bit", "twice", "reflect", "empty", "long"])
def test_altered_repeated_or_reflected_message_ends_an_invite(who: str, how: str) -> None:
    whole = Talk(inviter(), invitee())
    whole.run()
    for at in range(1, len(whole.sent[who]) + 1):
        told = Talk(inviter(), invitee())

        def bend(sender: str, n: int, data: bytes, told: Talk = told, at: int = at) -> bytes | None:
            other = "bob" if sender == "ada" else "ada"
            if sender != who or n != at:
                return data
            if how == "cut":
                return data[:-1]
            if how == "bit":
                return data[:-1] + bytes((data[-1] ^ 1,))
            if how == "twice":
                return told.sent[who][-2] if n > 1 else data + data
            if how == "reflect":
                return told.sent[other][-1] if told.sent[other] else data[::-1]
            return b"" if how == "empty" else data + bytes(70_000)

        told.bend = bend
        assert "bob InviteDone" not in told.run()


def test_invitee_without_proof_of_its_device_key_is_refused() -> None:
    told = Talk(inviter(), invitee())

    def unproved(who: str, n: int, data: bytes) -> bytes | None:
        if (who, n) != ("bob", 2):
            return data
        join = told.ada._noise.decrypt(data)
        told.ada._noise._connection.noise_protocol.cipher_state_decrypt.n -= 1
        told.bob._noise._connection.noise_protocol.cipher_state_encrypt.n -= 1
        return told.bob._noise.encrypt(join[:1] + bytes(32) + join[33:])

    told.bend = unproved
    assert told.run() == ["ada InviteAsked", "bob SpaceOffered", "ada Failed not_allowed"]


def test_invite_session_ends_on_timeout_and_on_a_closed_connection() -> None:
    ada, bob = inviter(), invitee()
    (first,) = bob.start(NOW)
    assert isinstance(first, Send)
    ada.receive(first.data, NOW)
    assert names_of(ada.receive(b"x", NOW + SESSION + 1)) == ["Send", "Failed"]
    assert names_of(bob.receive(b"x", NOW + SESSION + 1)) == ["Failed"]
    assert ada.receive(b"x", NOW) == bob.receive(b"x", NOW) == ada.closed() == bob.closed() == []
    for core in (inviter(), invitee()):
        assert core.closed() in ([], [Failed("timeout", "The other side went away before it was done.")])


def test_invite_calls_out_of_turn_do_nothing() -> None:
    ada, bob = inviter(), invitee()
    assert ada.offer(SPACE, NOW) == ada.finish(NOW) == ada.refuse("expired") == []
    assert bob.join(b"", NOW) == bob.decline() == []
    bob.start(NOW)
    assert bob.start(NOW) == []


def test_the_invitee_may_decline() -> None:
    told = Talk(inviter(), invitee())
    act = told.act

    def declines(who: str, effect: object) -> list[tuple[str, object]]:
        if isinstance(effect, SpaceOffered):
            told.seen.append("bob SpaceOffered")
            return [("bob", e) for e in told.bob.decline()]
        return act(who, effect)

    told.act = declines  # type: ignore[method-assign]
    assert told.run() == ["ada InviteAsked", "bob SpaceOffered", "bob Failed not_allowed", "ada Failed not_allowed"]
