"""Vector files of the identity layer: made anew, compared with the committed ones, read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from identity.approver import Approver
from identity.code_exchange import CodeExchange, code_mac, draw_code
from identity.codec import Reader, Writer
from identity.device import decode_device_keys, device_id, encode_device_keys, new_device
from identity.device_set import active_devices
from identity.digest import base32, shown_id
from identity.hello import (
    ExpectedDevice,
    HelloDialler,
    HelloListener,
    Proved,
    decode_hello,
    open_name,
    seal_name,
    topic_tag,
)
from identity.hints import read_hints, write_hints
from identity.inner import Send
from identity.invite import (
    DirectSpace,
    InviteAsked,
    InviteeJoined,
    SpaceOffered,
    decode_person,
    encode_person,
    person_of,
)
from identity.invite_code import decode_invite, encode_invite, new_invite
from identity.invitee import Invitee
from identity.inviter import Inviter
from identity.joiner import Display
from identity.kem import installed
from identity.keys import Random
from identity.keystore import Cost, create_keystore, decode_keystore, open_keystore
from identity.labels import Label
from identity.pairing import (
    AskApproval,
    Certified,
    DeviceJoined,
    Granted,
    NeedCode,
    PairingGrant,
    ShowCode,
    decode_new_device,
)
from identity.pairing_code import decode_pair, encode_pair, new_pair_code
from identity.payload import decode_payload
from identity.phrase import new_phrase, phrase_keys
from identity.proof import INITIATOR, RESPONDER, device_proof
from identity.safety_number import safety_number
from identity.statement import Certificate, decode_statement, decode_statements, encode_statements, revoke
from tests.support.people import BORN, certify, family
from tests.support.streams import stream
from tests.support.vectors import matches

NOW = 1_800_000_000
OUTER = bytes(range(64))
ADA, BOB = family("vector ada", 2), family("vector bob")


def recorded(seed: str) -> tuple[Random, list[str]]:
    """A stream, and every draw from it in hex: what another implementation has to be given."""
    draw, drawn = stream(seed), []

    def record(size: int) -> bytes:
        drawn.append(draw(size))
        texts.append(drawn[-1].hex())
        return drawn[-1]

    texts: list[str] = []
    return record, texts


def secrets(device: Any) -> dict[str, str]:
    return {
        "signing_seed": device.signing.seed.hex(),
        "agreement_secret": device.agreement.secret.hex(),
        "prekey_secret": device.prekey.agreement.secret.hex(),
        "id": device.id.hex(),
    }


def test_phrase_and_safety_number_equal_the_recorded_vectors() -> None:
    made = []
    for entropy in (bytes(32), bytes(range(32)), b"\xff" * 32):
        phrase = new_phrase(lambda size, entropy=entropy: entropy)  # type: ignore[misc]
        keys = phrase_keys(phrase, installed())
        assert keys.recovery.kem is not None
        made.append(
            {
                "entropy": entropy.hex(),
                "phrase": phrase,
                "root_seed": keys.root.seed.hex(),
                "root": keys.root.public.hex(),
                "identity": shown_id("id", keys.root.public),
                "recovery_secret": keys.recovery.agreement.secret.hex(),
                "recovery_kem_seed": keys.recovery.kem.seed.hex(),
                "recovery": keys.recovery.public.hex(),
            }
        )
    pairs = [(a["root"], b["root"]) for a, b in ((made[0], made[1]), (made[2], made[0]))]
    numbers = [{"one": a, "other": b, "number": safety_number(bytes.fromhex(a), bytes.fromhex(b))} for a, b in pairs]
    kept = matches("identity-phrase", {"phrases": made, "safety_numbers": numbers})
    for phrase in kept["phrases"]:
        assert phrase_keys(phrase["phrase"]).root.public.hex() == phrase["root"]
    for number in kept["safety_numbers"]:
        assert safety_number(bytes.fromhex(number["other"]), bytes.fromhex(number["one"])) == number["number"]


def test_statements_and_device_set_equal_the_recorded_vectors() -> None:
    phone, desk = ADA.devices
    third = new_device(stream("vector third"), NOW)
    later = certify(ADA.identity, desk, third, BORN + 9)
    by_device = revoke(
        ADA.identity,
        desk.id,
        created=BORN + 20,
        generation=BORN,
        signer=(phone.signing.public, phone.agreement.public),
        key=phone.signing,
        stay=[later.id],
    )
    by_root = revoke(ADA.identity, phone.id, created=BORN + 30, generation=BORN, signer=None, key=ADA.root)
    statements = [*ADA.statements, later, by_device, by_root]
    made = {
        "root_seed": ADA.root.seed.hex(),
        "devices": [secrets(d) for d in (phone, desk, third)],
        "statements": [{"id": s.id.hex(), "encoded": s.encoded.hex()} for s in statements],
        "sets": [
            {
                "statements": list(range(count)),
                "encoded": encode_statements(statements[:count]).hex(),
                "active": [d.id.hex() for d in active_devices(statements[:count], ADA.identity)],
            }
            for count in range(len(statements) + 1)
        ],
    }
    kept = matches("identity-statement", made)
    read = [decode_statement(bytes.fromhex(s["encoded"])) for s in kept["statements"]]
    assert [s.id.hex() for s in read] == [s["id"] for s in kept["statements"]]
    for case in kept["sets"]:
        whole = decode_statements(bytes.fromhex(case["encoded"]))
        assert set(whole) == {read[n] for n in case["statements"]}
        assert [d.id.hex() for d in active_devices(whole, ADA.identity)] == case["active"]
    for device in kept["devices"]:
        assert device["id"] in {device_id(s.signing, s.agreement).hex() for s in read if isinstance(s, Certificate)}


def test_keystore_and_device_keys_equal_the_recorded_vectors() -> None:
    made = []
    for passphrase, ring in (("correct horse", None), (None, b"r" * 32), ("caf\u00e9", b"r" * 32)):
        rng, draws = recorded(f"vector keystore {passphrase}")
        data = create_keystore(b"k" * 32, rng=rng, passphrase=passphrase, keyring_secret=ring, cost=Cost(1, 8 * 1024))
        made.append(
            {
                "database_key": (b"k" * 32).hex(),
                "passphrase": passphrase,
                "keyring_secret": ring.hex() if ring else None,
                "random": draws,
                "encoded": data.hex(),
            }
        )
    device = {**secrets(ADA.devices[0]), "encoded": encode_device_keys(ADA.devices[0]).hex()}
    hybrid = new_device(stream("vector hybrid"), NOW, installed())
    assert hybrid.prekey.kem is not None
    with_k = {**secrets(hybrid), "kem_seed": hybrid.prekey.kem.seed.hex(), "encoded": encode_device_keys(hybrid).hex()}
    kept = matches("identity-keystore", {"keystores": made, "device_keys": device, "device_keys_with_k": with_k})
    assert decode_device_keys(bytes.fromhex(kept["device_keys_with_k"]["encoded"])) == hybrid
    for store in kept["keystores"]:
        data = bytes.fromhex(store["encoded"])
        assert decode_keystore(data)
        if store["passphrase"]:
            assert open_keystore(data, passphrase=store["passphrase"]).hex() == store["database_key"]
        if store["keyring_secret"]:
            ring = bytes.fromhex(store["keyring_secret"])
            assert open_keystore(data, keyring_secret=ring).hex() == store["database_key"]
    assert decode_device_keys(bytes.fromhex(kept["device_keys"]["encoded"])) == ADA.devices[0]


HINTS = (("192.168.1.20", 40_000), ("2001:db8::1", 443))


def test_payload_texts_equal_the_recorded_vectors() -> None:
    pair = new_pair_code(stream("vector pair"), NOW, HINTS)
    invite = new_invite(stream("vector invite"), ADA.identity, NOW, hints=HINTS, name="Ada \u2603")
    made = {
        "hints": {"addresses": [list(h) for h in HINTS], "encoded": write_hints(Writer(), HINTS).finish().hex()},
        "pair": {
            "transport_seed": pair.key.seed.hex(),
            "psk": pair.payload.psk.hex(),
            "expires": pair.payload.expires,
            "encoded": encode_pair(pair.payload).hex(),
            "text": pair.payload.text,
        },
        "invite": {
            "identity": ADA.identity.hex(),
            "key_seed": invite.key.seed.hex(),
            "secret": invite.payload.secret.hex(),
            "expires": invite.payload.expires,
            "name": invite.payload.name,
            "encoded": encode_invite(invite.payload).hex(),
            "text": invite.payload.text,
        },
    }
    kept = matches("identity-payload", made)
    assert decode_pair(decode_payload(kept["pair"]["text"])[1]) == pair.payload
    assert decode_invite(decode_payload(kept["invite"]["text"])[1]) == invite.payload
    assert read_hints(Reader(bytes.fromhex(kept["hints"]["encoded"]))) == HINTS


Play = Callable[[str, object], list[tuple[str, object]]]


def play(first: list[tuple[str, object]], cores: dict[str, Any], act: Play) -> list[dict[str, str]]:
    """Every message in order, with its sender; `act` answers the other effects."""
    said: list[dict[str, str]] = []
    queue = list(first)
    while queue:
        who, effect = queue.pop(0)
        if isinstance(effect, Send):
            said.append({"from": who, "data": effect.data.hex()})
            other = next(name for name in cores if name != who)
            queue += [(other, e) for e in cores[other].receive(effect.data, NOW)]
        else:
            queue += act(who, effect)
    return said


def test_pairing_messages_equal_the_recorded_vectors() -> None:
    """One miss, then the right digits.  `random` lists every draw of a side in order."""
    phone, desk = ADA.devices[0], new_device(stream("vector desk"), NOW)
    code = new_pair_code(stream("vector pair"), NOW, HINTS)
    approver_rng, approver_draws = recorded("vector approver")
    joiner_rng, joiner_draws = recorded("vector joiner")
    approver = Approver(
        code.payload,
        keys=phone,
        identity=ADA.identity,
        statements=ADA.statements,
        outer_hash=OUTER,
        rng=approver_rng,
    )
    joiner = Display(code, desk, "desk", joiner_rng).connected(OUTER)
    known: dict[str, Any] = {"typed": []}

    def act(who: str, effect: object) -> list[tuple[str, object]]:
        if isinstance(effect, AskApproval):
            return [(who, e) for e in approver.approve(NOW, history=True)]
        if isinstance(effect, ShowCode):
            known["code"] = effect.code
        if isinstance(effect, NeedCode):
            if "code" not in known:
                return [(who, effect)]
            known["typed"].append("000000" if effect.left == 3 else known["code"])
            return [(who, e) for e in joiner.submit_code(known["typed"][-1], NOW)]
        if isinstance(effect, Certified):
            known["certificate"] = effect.certificate.encoded.hex()
            grant = PairingGrant(
                (*ADA.statements, effect.certificate), b"s" * 32, ADA.identity, b"z" * 32, effect.history
            )
            return [(who, e) for e in approver.grant(grant, NOW)]
        if isinstance(effect, Granted):
            known["granted"] = effect
            return [(who, e) for e in joiner.join(b"writer and consent", NOW)]
        if isinstance(effect, DeviceJoined):
            known["answer"] = effect.answer
            return [(who, e) for e in approver.finish(NOW)]
        return []

    messages = play([("approver", e) for e in approver.start(NOW)], {"approver": approver, "joiner": joiner}, act)
    assert known["answer"] == b"writer and consent" and isinstance(known["granted"], Granted)
    exchange = CodeExchange("123456", OUTER, stream("vector one"))
    other = CodeExchange("123456", OUTER, stream("vector two"))
    elements = exchange.element, other.element
    key = exchange.finish(other.element)
    made = {
        "now": NOW,
        "outer_hash": OUTER.hex(),
        "code": code.payload.text,
        "transport_seed": code.key.seed.hex(),
        "identity": ADA.identity.hex(),
        "statements": encode_statements(ADA.statements).hex(),
        "approver": {**secrets(phone), "random": approver_draws},
        "joiner": {**secrets(desk), "name": "desk", "random": joiner_draws},
        "shown": known["code"],
        "typed": known["typed"],
        "grant": {"space": (b"s" * 32).hex(), "writer": ADA.identity.hex(), "z": (b"z" * 32).hex(), "history": True},
        "certificate": known["certificate"],
        "messages": messages,
        "exchange": {
            "code": "123456",
            "identity": OUTER.hex(),
            "random": [stream("vector one")(64).hex(), stream("vector two")(64).hex()],
            "elements": [e.hex() for e in elements],
            "key": key.hex(),
            "macs": [code_mac(key, role, 1, OUTER).hex() for role in (INITIATOR, RESPONDER)],
        },
    }
    kept = matches("identity-pairing", made)
    assert [m["from"] for m in kept["messages"]][:3] == ["approver", "joiner", "approver"]
    again = Display(code, desk, "desk", replay(kept["joiner"]["random"])).connected(OUTER)
    first = again.receive(bytes.fromhex(kept["messages"][0]["data"]), NOW)
    assert first[1] == Send(bytes.fromhex(kept["messages"][1]["data"]))
    assert draw_code(replay(kept["approver"]["random"][1:])) == kept["shown"]
    certificate = decode_statement(bytes.fromhex(kept["certificate"]))
    assert isinstance(certificate, Certificate) and certificate.device == desk.id
    assert decode_new_device(bytes.fromhex(NEW_DEVICE)).name == "desk"


NEW_DEVICE = (
    "0001"
    + "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    + "09" * 32
    + "20"
    + "09" * 32
    + "04"
    + b"desk".hex()
)


def replay(draws: list[str]) -> Random:
    left = [bytes.fromhex(d) for d in draws]
    return lambda size: left.pop(0)


def test_invite_messages_equal_the_recorded_vectors() -> None:
    ada, bob = ADA.devices[1], BOB.devices[0]
    code = new_invite(stream("vector invite"), ADA.identity, NOW, hints=HINTS, name="Ada \u2603")
    ada_me = person_of(ADA.identity, ADA.statements, ada, b"profile of Ada")
    bob_me = person_of(BOB.identity, BOB.statements, bob, b"profile of Bob")
    space = DirectSpace(b"s" * 32, ADA.identity, b"z" * 32, b"extra")
    inviter_rng, inviter_draws = recorded("vector inviter")
    invitee_rng, invitee_draws = recorded("vector invitee")
    inviter = Inviter(code, keys=ada, me=ada_me, used_by=None, outer_hash=OUTER, rng=inviter_rng)
    invitee = Invitee(code.payload, keys=bob, me=bob_me, outer_hash=OUTER, rng=invitee_rng)
    seen: list[object] = []

    def act(who: str, effect: object) -> list[tuple[str, object]]:
        seen.append(effect)
        if isinstance(effect, InviteAsked):
            return [(who, e) for e in inviter.offer(space, NOW)]
        if isinstance(effect, SpaceOffered):
            return [(who, e) for e in invitee.join(b"writer and consent", NOW)]
        if isinstance(effect, InviteeJoined):
            return [(who, e) for e in inviter.finish(NOW)]
        return []

    messages = play([("invitee", e) for e in invitee.start(NOW)], {"invitee": invitee, "inviter": inviter}, act)
    assert InviteeJoined(bob_me, b"writer and consent") in seen and SpaceOffered(ada_me, space) in seen
    made = {
        "now": NOW,
        "outer_hash": OUTER.hex(),
        "invite": code.payload.text,
        "key_seed": code.key.seed.hex(),
        "inviter": {**secrets(ada), "person": encode_person(ada_me).hex(), "random": inviter_draws},
        "invitee": {**secrets(bob), "person": encode_person(bob_me).hex(), "random": invitee_draws},
        "space": {
            "space": space.space.hex(),
            "writer": space.writer.hex(),
            "z": space.z.hex(),
            "extra": space.extra.hex(),
        },
        "answer": b"writer and consent".hex(),
        "messages": messages,
    }
    kept = matches("identity-invite", made)
    assert decode_person(bytes.fromhex(kept["inviter"]["person"])) == ada_me
    again = Inviter(code, keys=ada, me=ada_me, used_by=None, outer_hash=OUTER, rng=replay(kept["inviter"]["random"]))
    first = again.receive(bytes.fromhex(kept["messages"][0]["data"]), NOW)
    assert first == [Send(bytes.fromhex(kept["messages"][1]["data"])), InviteAsked(bob_me)]


def test_hello_messages_equal_the_recorded_vectors() -> None:
    a, b = ADA.devices[0], BOB.devices[0]
    secret = a.agreement.agree(b.agreement.public)
    z = b"z" * 32
    one, other = ExpectedDevice(b.id, secret), ExpectedDevice(a.id, secret)
    known = conversation(
        HelloDialler(a.id, OUTER, to=one), HelloListener(b.id, OUTER, known=[other], spaces={}, rng=stream(1))
    )
    topic = conversation(
        HelloDialler(a.id, OUTER, z=z, members=[one]),
        HelloListener(b.id, OUTER, known=[], spaces={z: [other]}, rng=stream(1)),
    )
    made = {
        "handshake_hash": OUTER.hex(),
        "z": z.hex(),
        "dialler": secrets(a),
        "listener": secrets(b),
        "shared_secret": secret.hex(),
        "known": known,
        "topic": topic,
        "proofs": [
            device_proof(Label.HELLO, secret, OUTER, INITIATOR, a.id, b.id).hex(),
            device_proof(Label.HELLO, secret, OUTER, RESPONDER, b.id, a.id).hex(),
        ],
        "topic_tag": topic_tag(z, OUTER).hex(),
        "sealed_name": seal_name(z, OUTER, b.id).hex(),
    }
    kept = matches("identity-hello", made)
    first = [decode_hello(bytes.fromhex(kept[form][0])) for form in ("known", "topic")]
    assert [(form, value.hex()) for form, value in first] == [(0, kept["proofs"][0]), (1, kept["topic_tag"])]
    assert open_name(z, OUTER, bytes.fromhex(kept["topic"][1])) == b.id
    fresh = HelloListener(b.id, OUTER, known=[other], spaces={}, rng=stream(1))
    assert fresh.receive(bytes.fromhex(kept["known"][0])) == [
        Send(bytes.fromhex(kept["known"][1])),
        Proved(a.id, None),
    ]


def conversation(dialler: HelloDialler, listener: HelloListener) -> list[str]:
    said: list[str] = []
    queue: list[tuple[Any, object]] = [(listener, e) for e in dialler.start()]
    while queue:
        to, effect = queue.pop(0)
        if isinstance(effect, Send):
            said.append(effect.data.hex())
            back = dialler if to is listener else listener
            queue += [(back, e) for e in to.receive(effect.data)]
    return said


def test_labels_equal_the_recorded_vectors() -> None:
    """A label that changes changes every format that uses it."""
    kept = matches("identity-labels", {label.name: label.value.decode("ascii") for label in Label if label in FROZEN})
    assert len(kept) == len(FROZEN) and base32(b"") == ""


FROZEN = (
    Label.ROOT,
    Label.RECOVER,
    Label.RECOVER_KEM,
    Label.SAFETY,
    Label.DEVICE,
    Label.CERTIFICATE,
    Label.COUNTERSIGN,
    Label.REVOCATION,
    Label.STATEMENT,
    Label.KEYSTORE,
    Label.PAYLOAD,
    Label.PAIRING,
    Label.PAIRING_MAC,
    Label.INVITE,
    Label.HELLO,
    Label.HELLO_TOPIC,
    Label.DROP,
    Label.COPY,
    Label.DATABASE,
    Label.INDEX,
    Label.PLACE,
)
