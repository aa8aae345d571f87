"""Pairing as transcripts: success, mistakes of people, and attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from identity.approver import Approver
from identity.code_exchange import CodeExchange, code_mac, draw_code, normal_code
from identity.codec import Reader
from identity.device import DeviceKeys, new_device
from identity.device_set import active_devices
from identity.errors import DecodeError
from identity.inner import SESSION, Failed, Send, Stray
from identity.joiner import Display, Joiner
from identity.pairing import (
    AskApproval,
    Certified,
    Claimed,
    DeviceJoined,
    Granted,
    NeedCode,
    PairingDone,
    PairingGrant,
    ShowCode,
    WrongCode,
)
from identity.pairing_code import LIFETIME, PairPayload, new_pair_code
from identity.statement import Statement, counter_sign, revoke
from tests.support.people import Family, certify, family, names_of
from tests.support.streams import stream

NOW = 1_800_000_000.0
OUTER = b"o" * 64
ADA = family("ada", 2)
PHONE = ADA.devices[0]
DESK = new_device(stream("desk"), NOW)
SPACE, Z = b"s" * 32, b"z" * 32
W = PHONE.signing.public  # any Ed25519 point serves as a writer


def display(keys: DeviceKeys = DESK, name: str = "desk", seed: str = "display") -> Display:
    return Display(new_pair_code(stream(f"{seed}/qr"), NOW, [("192.168.1.7", 4000)]), keys, name, stream(seed))


def approver(
    payload: PairPayload, who: Family = ADA, keys: DeviceKeys = PHONE, outer: bytes = OUTER, seed: str = "approver"
) -> Approver:
    return Approver(
        payload, keys=keys, identity=who.identity, statements=who.statements, outer_hash=outer, rng=stream(seed)
    )


@dataclass
class Talk:
    """Carries messages both ways and plays both persons; `seen` is the transcript."""

    phone: Approver
    desk: Joiner
    typed: list[str | None] = field(default_factory=lambda: [None])  # None: the digits as shown
    answer: str = "yes"
    history: bool = True
    withhold: bool = False
    statements: tuple[Statement, ...] = ADA.statements
    bend: Callable[[str, int, bytes], bytes | None] = lambda who, n, data: data
    now: float = NOW
    seen: list[str] = field(default_factory=list)
    kept: dict[str, object] = field(default_factory=dict)
    sent: dict[str, list[bytes]] = field(default_factory=lambda: {"phone": [], "desk": []})
    code: str = ""

    def run(self) -> list[str]:
        queue: list[tuple[str, object]] = [("phone", e) for e in self.phone.start(self.now)]
        while queue:
            who, effect = queue.pop(0)
            queue += [(w, e) for w, e in self.act(who, effect)]
        return self.seen

    def act(self, who: str, effect: object) -> list[tuple[str, object]]:
        if isinstance(effect, Send):
            self.sent[who].append(effect.data)
            data = self.bend(who, len(self.sent[who]), effect.data)
            if data is None:
                return []
            if who == "phone":
                return [("desk", e) for e in self.desk.receive(data, self.now)]
            return [("phone", e) for e in self.phone.receive(data, self.now)]
        word = type(effect).__name__
        if isinstance(effect, Failed):
            word = f"Failed {effect.code}"
        if isinstance(effect, WrongCode | NeedCode):
            word = f"{word} {effect.left}"
        self.seen.append(f"{who} {word}")
        self.kept[word] = effect
        if isinstance(effect, AskApproval):
            if self.answer == "no":
                return [("phone", e) for e in self.phone.decline()]
            return [("phone", e) for e in self.phone.approve(self.now, history=self.history)]
        if isinstance(effect, ShowCode):
            self.code = effect.code
        if isinstance(effect, NeedCode):
            typed = self.typed.pop(0)
            self.kept["pending"] = typed
            return [("desk", Typed(typed))]
        if isinstance(effect, Typed):
            self.seen.pop()
            if not self.code:  # the digits are shown only after COMMIT is on its way
                return [("desk", effect)]
            text = self.code if effect.text is None else effect.text
            return [("desk", e) for e in self.desk.submit_code(text, self.now)]
        if isinstance(effect, Certified):
            issued = () if self.withhold else (effect.certificate,)
            grant = PairingGrant((*self.statements, *issued), SPACE, W, Z, effect.history, b"extra")
            return [("phone", e) for e in self.phone.grant(grant, self.now)]
        if isinstance(effect, Granted):
            return [("desk", e) for e in self.desk.join(b"writer and consent", self.now)]
        if isinstance(effect, DeviceJoined):
            return [("phone", e) for e in self.phone.finish(self.now)]
        return []


@dataclass(frozen=True)
class Typed:
    text: str | None


STORY = [
    "desk Claimed",
    "phone AskApproval",
    "phone ShowCode",
    "desk NeedCode 3",
    "phone Certified",
    "desk Granted",
    "phone DeviceJoined",
    "phone PairingDone",
    "desk PairingDone",
]


def talk(**changes: object) -> Talk:
    shown = display()
    return replace(Talk(approver(shown.code.payload), shown.connected(OUTER)), **changes)  # type: ignore[arg-type]


def in_any_order(seen: list[str]) -> list[str]:
    return sorted(seen)


def test_pairing_links_the_new_device_and_grants_the_identity() -> None:
    told = talk()
    assert in_any_order(told.run()) == in_any_order(STORY)
    granted, certified, joined = told.kept["Granted"], told.kept["Certified"], told.kept["DeviceJoined"]
    assert isinstance(granted, Granted) and isinstance(certified, Certified) and isinstance(joined, DeviceJoined)
    assert (granted.identity, granted.approver) == (ADA.identity, PHONE.id)
    assert (granted.grant.space, granted.grant.writer, granted.grant.z) == (SPACE, W, Z)
    assert granted.grant.history and granted.grant.extra == b"extra"
    assert granted.certificate == certified.certificate and granted.certificate.device == DESK.id
    assert certified.device.prekey == DESK.prekey.public and certified.device.name == "desk"
    assert joined == DeviceJoined(DESK.id, b"writer and consent")
    assert [d.id for d in active_devices(granted.grant.statements, ADA.identity)] == [
        *[d.id for d in ADA.devices],
        DESK.id,
    ]


def test_grant_says_whether_history_was_approved() -> None:
    told = talk(history=False)
    told.run()
    granted = told.kept["Granted"]
    assert isinstance(granted, Granted) and not granted.grant.history


def test_digits_are_accepted_with_spaces_and_hyphens() -> None:
    assert normal_code(" 123-456\n") == normal_code("123 456") == "123456"
    told = talk(typed=["000000", None])
    assert "phone PairingDone" in told.run()


def test_wrong_code_leaves_two_more_tries() -> None:
    told = talk(typed=["12", "", None])
    seen = told.run()
    assert [s for s in seen if s.startswith("desk") and "Code" in s] == [
        "desk NeedCode 3",
        "desk WrongCode 2",
        "desk NeedCode 2",
        "desk WrongCode 1",
        "desk NeedCode 1",
    ]
    assert seen[-2:] == ["phone PairingDone", "desk PairingDone"]


def test_three_wrong_codes_end_pairing_on_both_sides() -> None:
    told = talk(typed=["000000", "letters", "x" * 500])
    seen = told.run()
    assert "phone Failed wrong_code" in seen and "desk Failed wrong_code" in seen and "desk WrongCode 0" in seen
    assert "phone Certified" not in seen
    assert told.phone.receive(b"more", NOW) == [] and told.desk.submit_code(told.code, NOW) == []


def test_declining_reveals_no_key_of_the_approver() -> None:
    told = talk(answer="no")
    assert told.run() == ["desk Claimed", "phone AskApproval", "phone Failed not_allowed", "desk Failed not_allowed"]
    assert PHONE.agreement.public not in b"".join(told.sent["phone"])


def test_nothing_is_shown_or_certified_before_the_person_agrees() -> None:
    shown = display()
    phone, desk = approver(shown.code.payload), shown.connected(OUTER)
    (first,) = phone.start(NOW)
    assert isinstance(first, Send)
    _, second = desk.receive(first.data, NOW)
    assert isinstance(second, Send)
    assert names_of(phone.receive(second.data, NOW)) == ["AskApproval"]
    assert phone.grant(PairingGrant((), SPACE, W, Z, True), NOW) == [] == phone.finish(NOW)
    assert desk.submit_code("123456", NOW) == [] == desk.join(b"", NOW)


def test_pairing_code_expires_after_two_minutes_on_both_sides() -> None:
    shown = display()
    late = NOW + LIFETIME + 1
    assert approver(shown.code.payload).start(late) == [failed_with("expired", approver(shown.code.payload), late)]
    (first,) = approver(shown.code.payload).start(NOW)
    assert isinstance(first, Send)
    assert [e.code for e in shown.connected(OUTER).receive(first.data, late) if isinstance(e, Failed)] == ["expired"]


def failed_with(code: str, core: Approver, now: float) -> Failed:
    (effect,) = core.start(now)
    assert isinstance(effect, Failed) and effect.code == code
    return effect


def test_pairing_expires_when_nobody_types_the_code() -> None:
    told = talk(typed=[None])
    told.act = slow(told)  # type: ignore[method-assign,assignment]
    assert told.run()[-1] == "desk Failed expired"


def slow(told: Talk) -> Callable[[str, object], list[tuple[str, object]]]:
    act = Talk.act

    def later(who: str, effect: object) -> list[tuple[str, object]]:
        if isinstance(effect, NeedCode):
            told.now += SESSION + 1
        return act(told, who, effect)

    return later


def test_lost_connection_ends_pairing_on_both_sides() -> None:
    shown = display()
    phone, desk = approver(shown.code.payload), shown.connected(OUTER)
    assert desk.closed() == []
    (first,) = phone.start(NOW)
    assert isinstance(first, Send)
    desk.receive(first.data, NOW)
    assert names_of(phone.closed()) == names_of(desk.closed()) == ["Failed"]
    assert phone.closed() == desk.closed() == []


def test_seventh_device_is_refused() -> None:
    full = family("full", 6)
    failed_with("too_many_devices", approver(display().code.payload, full, full.devices[3]), NOW)


def test_a_revoked_device_approves_nobody_and_is_not_approved_again() -> None:
    gone = revoke(
        ADA.identity,
        ADA.devices[1].id,
        created=1,
        generation=ADA.statements[0].generation,
        signer=(PHONE.signing.public, PHONE.agreement.public),
        key=PHONE.signing,
    )
    rest = replace(ADA, statements=(*ADA.statements, gone))
    failed_with("not_allowed", approver(display().code.payload, rest, ADA.devices[1]), NOW)
    again = display(ADA.devices[1])
    told = Talk(approver(again.code.payload, rest), again.connected(OUTER), statements=rest.statements)
    assert {"phone Failed not_allowed", "desk Failed not_allowed"} <= set(told.run())


# Strangers


def test_peer_without_the_code_is_a_stray_and_the_code_stays_valid() -> None:
    shown = display()
    for wrong in (
        replace(shown.code.payload, psk=bytes(32)),
        replace(shown.code.payload, expires=shown.code.payload.expires + 1),
        replace(shown.code.payload, hints=()),
    ):
        (first,) = approver(wrong).start(NOW)
        assert isinstance(first, Send)
        assert names_of(shown.connected(OUTER).receive(first.data, NOW)) == ["Stray"]
    for junk in (b"", b"x", bytes(48), bytes(70_000)):
        assert names_of(shown.connected(OUTER).receive(junk, NOW)) == ["Stray"]
    told = Talk(approver(shown.code.payload), shown.connected(OUTER))
    assert told.run()[-1] == "desk PairingDone"


def test_first_message_replayed_on_another_connection_is_a_stray() -> None:
    """A first message recorded on one connection is nothing on the next."""
    shown = display()
    (first,) = approver(shown.code.payload, outer=b"p" * 64).start(NOW)
    assert isinstance(first, Send)
    assert names_of(shown.connected(OUTER).receive(first.data, NOW)) == ["Stray"]


def test_first_connection_with_the_code_claims_it() -> None:
    """A hundred connections would be three hundred guesses."""
    shown = display()
    (first,) = approver(shown.code.payload, seed="one").start(NOW)
    (second,) = approver(shown.code.payload, seed="two").start(NOW)
    assert isinstance(first, Send) and isinstance(second, Send)
    assert names_of(shown.connected(OUTER).receive(first.data, NOW)) == ["Claimed", "Send"]
    assert names_of(shown.connected(OUTER).receive(second.data, NOW)) == ["Stray"]


def test_attacker_who_scanned_the_code_needs_the_digits() -> None:
    """Mallory scans Ada's new device before Ada does; Ada types the digits that her own phone shows her."""
    mallory = family("mallory")
    shown = display()
    told = Talk(
        approver(shown.code.payload, mallory, mallory.devices[0]),
        shown.connected(OUTER),
        typed=["314159", "314159", "314159"],  # from Ada's phone
        statements=mallory.statements,
    )
    seen = told.run()
    assert "desk Failed wrong_code" in seen and "desk Granted" not in seen


def test_attacker_who_confirms_a_wrong_code_is_refused() -> None:
    """Mallory's client skips the check of the MAC and confirms whatever came."""
    mallory = family("mallory")
    shown = display()
    liar = approver(shown.code.payload, mallory, mallory.devices[0])
    told = Talk(liar, shown.connected(OUTER), typed=["314159"], statements=mallory.statements)

    def lie(who: str, n: int, data: bytes) -> bytes | None:
        if (who, n) != ("desk", 2):
            return data
        run, hashed = liar._run, liar._noise.hash
        assert run is not None
        key = run.finish(liar._noise.decrypt(data)[1:33])  # of the digits that Mallory guessed
        confirm = bytes((3,)) + code_mac(key, 0, 0, hashed) + bytes(32) + b"\0"
        (last,) = told.desk.receive(liar._noise.encrypt(confirm), NOW)
        assert isinstance(last, Failed)
        told.seen.append(f"mallory lies, desk Failed {last.code}")
        return None

    told.bend = lie
    assert told.run()[-1] == "mallory lies, desk Failed wrong_code"


def test_code_of_an_attacker_scanned_by_mistake_grants_nothing_without_the_digits() -> None:
    """Ada scans the QR that Mallory put before her; only Ada's phone shows the digits."""
    device = new_device(stream("mallory's machine"), NOW)
    shown = display(device, "ada's new desktop", seed="mallory")
    told = Talk(approver(shown.code.payload), shown.connected(OUTER), typed=["000000", "111111", "222222"])
    seen = told.run()
    assert "phone Failed wrong_code" in seen and "phone Certified" not in seen


def test_attacker_between_two_pairings_cannot_relay_the_code_exchange() -> None:
    """Both at once: Ada scans Mallory's QR while Mallory scanned Ada's.  Ada types the digits that she sees.

    Mallory relays the runs of SPAKE2, which are bound to different handshakes, and never gets a key.
    """
    real, fake = display(), display(new_device(stream("m"), NOW), seed="mallory")
    mallory = family("mallory")
    to_desk = approver(real.code.payload, mallory, mallory.devices[0])
    desk = real.connected(OUTER)
    phone, to_phone = approver(fake.code.payload), fake.connected(b"q" * 64)
    phone = approver(fake.code.payload, outer=b"q" * 64)

    def sends(effects: object) -> list[bytes]:
        assert isinstance(effects, list)
        return [e.data for e in effects if isinstance(e, Send)]

    # both handshakes
    (m1,) = sends(phone.start(NOW))
    (m2,) = sends(to_phone.receive(m1, NOW))
    phone.receive(m2, NOW)
    effects = phone.approve(NOW, history=True)
    code = next(e.code for e in effects if isinstance(e, ShowCode))
    m3, commit = sends(effects)
    to_phone.receive(m3, NOW)
    element = to_phone._noise.decrypt(commit)[1:33]
    (d1,) = sends(to_desk.start(NOW))
    (d2,) = sends(desk.receive(d1, NOW))
    to_desk.receive(d2, NOW)
    d3, _ = sends(to_desk.approve(NOW, history=True))
    desk.receive(d3, NOW)
    # the COMMIT of Mallory's own client was never sent: the relayed element goes in its place
    desk.receive(fresh(to_desk, bytes((0,)) + element), NOW)
    (answer,) = sends(desk.submit_code(code, NOW))
    relayed = to_desk._noise.decrypt(answer)
    verdict = phone.receive(to_phone._noise.encrypt(relayed), NOW)
    assert to_phone._noise.decrypt(sends(verdict)[0])[0] == 2, "WRONG: the right digits, in the wrong handshake"


def fresh(core: Approver, plaintext: bytes) -> bytes:
    """As if the core had said this in place of its first transport message."""
    core._noise._connection.noise_protocol.cipher_state_encrypt.n = 0
    return core._noise.encrypt(plaintext)


@pytest.mark.parametrize("who", ["phone", "desk"])
@pytest.mark.parametrize("how", ["cut", "bit", "twice", "reflect", "empty", "long"])
def test_altered_repeated_or_reflected_message_ends_pairing(who: str, how: str) -> None:
    total = len(run_and_count(who))
    for at in range(1, total + 1):
        told = talk(typed=[None, None, None])
        before: dict[str, bytes] = {}

        def bend(
            sender: str, n: int, data: bytes, told: Talk = told, at: int = at, before: dict[str, bytes] = before
        ) -> bytes | None:
            other = "desk" if sender == "phone" else "phone"
            last = before.get(sender, b"")
            before[sender] = data
            if sender != who or n != at:
                return data
            if how == "cut":
                return data[:-1]
            if how == "bit":
                return data[:-1] + bytes((data[-1] ^ 1,))
            if how == "twice":
                return last or data + data
            if how == "reflect":
                return told.sent[other][-1] if told.sent[other] else data[::-1]
            return b"" if how == "empty" else data + bytes(70_000)

        told.bend = bend
        seen = told.run()
        assert not {"phone PairingDone", "desk PairingDone"} <= set(seen), f"message {at} of {who}"
        if at < total or who == "desk":
            assert "desk PairingDone" not in seen


def run_and_count(who: str) -> list[bytes]:
    told = talk()
    told.run()
    return told.sent[who]


def test_grant_that_does_not_certify_both_devices_is_refused() -> None:
    """Statements in which the approver is revoked, or without the certificate, give no identity."""
    gone = revoke(
        ADA.identity,
        PHONE.id,
        created=1,
        generation=ADA.statements[0].generation,
        signer=(ADA.devices[1].signing.public, ADA.devices[1].agreement.public),
        key=ADA.devices[1].signing,
        stay=[ADA.statements[1].id],
    )
    told = talk(statements=(*ADA.statements, gone))
    seen = told.run()
    assert seen[-1] == "desk Failed not_allowed" and "desk Granted" not in seen
    other = family("other")
    told = talk(statements=other.statements)
    assert told.run()[-1] == "desk Failed not_allowed"
    elsewhere = certify(ADA.identity, ADA.devices[1], DESK, 5)
    told = talk(statements=(*ADA.statements, elsewhere), withhold=True)
    assert told.run()[-1] == "desk Failed not_allowed", "active, and yet not by what it counter-signed here"


def test_approver_certified_with_the_key_of_another_is_refused() -> None:
    """Mallory's device is certified with Ada's D, which he does not have: he cannot sign for it in a pairing either."""
    mallory = family("mallory")
    borrowed = DeviceKeys(mallory.devices[0].signing, replace(PHONE.agreement, secret=b"x" * 32), PHONE.prekeys)
    stolen = replace(
        mallory, statements=(*mallory.statements, certify(mallory.identity, mallory.devices[0], borrowed, 5))
    )
    shown = display()
    liar = approver(shown.code.payload, stolen, mallory.devices[0])
    liar._keys = borrowed  # after the handshake was set up with a D that Mallory has
    told = Talk(liar, shown.connected(OUTER), statements=stolen.statements)
    assert {s for s in told.run() if "Failed" in s} >= {"desk Failed not_allowed"} and "Granted" not in told.kept


def test_new_device_without_its_secret_key_is_refused() -> None:
    """Mallory's new device shows the D of Ada's tablet, so as to be taken for it later."""
    tablet = ADA.devices[1]
    borrowed = DeviceKeys(DESK.signing, replace(tablet.agreement, secret=b"x" * 32), DESK.prekeys)
    shown = display(borrowed)
    told = Talk(approver(shown.code.payload), shown.connected(OUTER))

    def forged(who: str, n: int, data: bytes) -> bytes | None:
        if (who, n) != ("phone", 4):
            return data
        confirm = told.desk._noise.decrypt(data)
        reader = Reader(confirm[1 + 32 + 32 :])
        body = reader.buffer(256)
        reader.end()
        (last,) = told.phone.receive(
            told.desk._noise.encrypt(bytes((4,)) + bytes(32) + counter_sign(body, DESK.signing)), NOW
        )
        assert isinstance(last, Failed)
        told.seen.append(f"phone Failed {last.code}")
        return None

    told.bend = forged
    assert told.run()[-1] == "phone Failed not_allowed" and "Certified" not in told.kept


def test_approver_without_proof_of_its_device_key_is_refused() -> None:
    told = talk()

    def unproved(who: str, n: int, data: bytes) -> bytes | None:
        if (who, n) != ("phone", 4):
            return data
        confirm = told.desk._noise.decrypt(data)
        told.desk._noise._connection.noise_protocol.cipher_state_decrypt.n -= 1
        told.phone._noise._connection.noise_protocol.cipher_state_encrypt.n -= 1
        return told.phone._noise.encrypt(confirm[:33] + bytes(32) + confirm[65:])

    told.bend = unproved
    assert told.run()[-1] == "desk Failed not_allowed" and len(told.sent["desk"]) == 2


# Digits


def test_drawn_codes_have_six_uniform_digits() -> None:
    codes = [draw_code(stream(n)) for n in range(300)]
    assert {len(c) for c in codes} == {6} and all(c.isdigit() for c in codes) and len(set(codes)) > 290
    draws = iter([(16_000_000).to_bytes(3, "little"), (15_999_999).to_bytes(3, "little")])
    assert draw_code(lambda size: next(draws)) == "999999", "beyond the last whole million it is drawn again"


def test_code_exchange_gives_one_key_for_equal_codes_and_handshakes_only() -> None:
    one, other = CodeExchange("123456", OUTER, stream(1)), CodeExchange("123456", OUTER, stream(2))
    assert one.finish(other.element) == other.finish(one.element)
    for code, hashed in (("123457", OUTER), ("123456", b"p" * 64)):
        a, b = CodeExchange("123456", OUTER, stream(1)), CodeExchange(code, hashed, stream(2))
        assert a.finish(b.element) != b.finish(a.element)
    for bad in (b"", bytes(31), bytes(33), bytes(32), b"\1" + bytes(31), b"\xff" * 32):
        with pytest.raises(DecodeError):
            CodeExchange("123456", OUTER, stream(1)).finish(bad)
    mine = CodeExchange("123456", OUTER, stream(1))
    with pytest.raises(DecodeError):
        mine.finish(mine.element)


def test_effects_compare_by_value() -> None:
    assert Claimed() == Claimed() and PairingDone() == PairingDone() and Stray("a") != Stray("b")
