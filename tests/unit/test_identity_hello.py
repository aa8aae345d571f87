"""Hello: which device is proved to whom, and what an unknown dialler sees."""

from __future__ import annotations

from dataclasses import replace

import pytest

from identity.hello import (
    PROVE,
    SEALED_ID,
    ExpectedDevice,
    HelloDialler,
    HelloListener,
    Proved,
    Stranger,
    decode_hello,
    encode_prove,
    expected_devices,
)
from identity.inner import Send
from identity.proof import PROOF
from tests.support.people import certify, family, names_of
from tests.support.streams import stream

HASH = b"h" * 64
Z, OLD_Z = b"z" * 32, b"y" * 32
ADA, BOB, EVE = family("ada", 2), family("bob", 2), family("eve")
A, B, E = ADA.devices[0], BOB.devices[1], EVE.devices[0]


def known(*devices: object, mine: object = A) -> list[ExpectedDevice]:
    return expected_devices(mine.agreement, [(d.id, d.agreement.public) for d in devices], {})  # type: ignore[attr-defined]


def listener(me: object = B, knows: object = (A,), z: bytes | None = Z, seed: str = "listener") -> HelloListener:
    among = known(*knows, mine=me)  # type: ignore[misc]
    spaces = {OLD_Z: [], z: among} if z else {}
    return HelloListener(me.id, HASH, known=among, spaces=spaces, rng=stream(seed))  # type: ignore[attr-defined]


def to(device: object = B, mine: object = A) -> ExpectedDevice:
    return known(device, mine=mine)[0]


def run(dialler: HelloDialler, listener: HelloListener) -> tuple[list[object], list[int]]:
    """What each side found, and the sizes that went over the wire."""
    found: list[object] = []
    sizes: list[int] = []
    queue: list[tuple[str, object]] = [("dialler", e) for e in dialler.start()]
    while queue:
        who, effect = queue.pop(0)
        if isinstance(effect, Send):
            sizes.append(len(effect.data))
            if who == "dialler":
                queue += [("listener", e) for e in listener.receive(effect.data)]
            else:
                queue += [("dialler", e) for e in dialler.receive(effect.data)]
        else:
            found.append((who, effect))
    return found, sizes


def test_hello_proves_both_devices_at_a_known_transport_key() -> None:
    found, sizes = run(HelloDialler(A.id, HASH, to=to()), listener())
    assert sorted(found, key=str) == [("dialler", Proved(B.id)), ("listener", Proved(A.id))]
    assert sizes == [1 + PROOF, PROOF]


def test_hello_proves_both_devices_found_by_topic() -> None:
    found, sizes = run(HelloDialler(A.id, HASH, z=Z, members=known(B, BOB.devices[0])), listener())
    assert sorted(found, key=str) == [("dialler", Proved(B.id, Z)), ("listener", Proved(A.id, Z))]
    assert sizes == [1 + PROOF, SEALED_ID, 1 + PROOF, PROOF]


def test_unknown_dialler_cannot_tell_the_device_it_seeks_from_another() -> None:
    """Eve knows that Bob's device exists, and tries its key and its space."""
    shapes = []
    for answers in (listener(), listener(me=ADA.devices[1]), listener(knows=(), z=None)):
        found, sizes = run(HelloDialler(E.id, HASH, to=to(mine=E)), answers)
        assert sorted(found, key=str) == [("dialler", Stranger()), ("listener", Stranger())]
        shapes.append(sizes)
    assert shapes == [[1 + PROOF, PROOF]] * 3
    shapes = []
    for answers in (listener(), listener(me=ADA.devices[1]), listener(knows=(), z=None)):
        found, sizes = run(HelloDialler(E.id, HASH, z=b"guess" + bytes(27), members=known(B, mine=E)), answers)
        assert found == [("dialler", Stranger())], "the listener waits for a proof that may never come"
        assert names_of(answers.receive(encode_prove(bytes(PROOF)))) == ["Send", "Stranger"]
        shapes.append(sizes)
    assert shapes == [[1 + PROOF, SEALED_ID]] * 3


def test_answers_to_unknown_diallers_are_fresh_random_bytes() -> None:
    answers = set()
    for n in range(3):
        effects = listener(knows=(), seed=str(n)).receive(b"\0" + bytes(32))
        assert isinstance(effects[0], Send)
        answers.add(effects[0].data)
    assert len(answers) == 3


def test_z_alone_proves_no_device() -> None:
    """Eve was in the space once and knows Z: she learns that Bob's device is here, and is still a stranger."""
    found, _ = run(HelloDialler(E.id, HASH, z=Z, members=known(B, mine=E)), listener())
    assert sorted(found, key=str) == [("dialler", Stranger()), ("listener", Stranger())]


def test_hello_by_an_earlier_z_reports_that_z() -> None:
    answers = HelloListener(B.id, HASH, known=(), spaces={Z: [], OLD_Z: known(A, mine=B)}, rng=stream(1))
    found, _ = run(HelloDialler(A.id, HASH, z=OLD_Z, members=known(B)), answers)
    assert ("listener", Proved(A.id, OLD_Z)) in found and ("dialler", Proved(B.id, OLD_Z)) in found


def test_proof_is_refused_on_another_connection_and_when_reflected() -> None:
    (first,) = HelloDialler(A.id, HASH, to=to()).start()
    assert isinstance(first, Send)
    elsewhere = HelloListener(B.id, b"i" * 64, known=known(A, mine=B), spaces={}, rng=stream(1))
    assert names_of(elsewhere.receive(first.data)) == ["Send", "Stranger"]
    back = HelloDialler(A.id, HASH, to=to())
    back.start()
    assert back.receive(first.data[1:]) == [Stranger()]
    mine = HelloListener(A.id, HASH, known=known(B), spaces={}, rng=stream(1))
    assert names_of(mine.receive(first.data)) == ["Send", "Stranger"]


def test_device_that_certified_the_key_of_another_is_not_taken_for_it() -> None:
    """Eve certifies a device of hers with Ada's D.  Bob expects both and hears Ada: it is Ada."""
    borrowed = replace(E, agreement=A.agreement)
    certify(EVE.identity, E, borrowed, 5)
    assert borrowed.agreement.public == A.agreement.public and borrowed.id != A.id
    found, _ = run(HelloDialler(A.id, HASH, to=to()), listener(knows=(borrowed, A)))
    assert ("listener", Proved(A.id)) in found
    found, _ = run(HelloDialler(A.id, HASH, to=to()), listener(knows=(borrowed,)))
    assert ("listener", Stranger()) in found


def test_expected_devices_leave_out_own_and_invalid_keys() -> None:
    cache: dict[bytes, bytes] = {}
    devices = [(A.id, A.agreement.public), (B.id, B.agreement.public), (E.id, bytes(32))]
    assert [c.device for c in expected_devices(A.agreement, devices, cache)] == [B.id]
    assert cache == {B.agreement.public: A.agreement.agree(B.agreement.public)}
    marked = {B.agreement.public: b"m" * 32}
    assert expected_devices(A.agreement, devices, marked)[0].secret == b"m" * 32


@pytest.mark.parametrize("junk", [b"", b"\0", b"\3" + bytes(32), bytes(34), b"\xfd\0\0" + bytes(32), bytes(70_000)])
def test_malformed_hello_gets_no_answer(junk: bytes) -> None:
    assert listener().receive(junk) == [Stranger()]
    for dialler in (HelloDialler(A.id, HASH, to=to()), HelloDialler(A.id, HASH, z=Z, members=known(B))):
        dialler.start()
        assert dialler.receive(junk) == [Stranger()]
        assert dialler.receive(junk) == [] and dialler.start() == []


def test_hello_messages_out_of_turn_end_the_session() -> None:
    answers = listener()
    assert answers.receive(encode_prove(bytes(32))) == [Stranger()] and answers.receive(b"") == []
    assert decode_hello(encode_prove(bytes(32))) == (PROVE, bytes(32))
    with pytest.raises(ValueError):
        HelloDialler(A.id, HASH)
    with pytest.raises(ValueError):
        HelloDialler(A.id, HASH, to=to(), z=Z)


def test_dialler_refuses_a_listener_that_is_no_expected_device() -> None:
    found, _ = run(HelloDialler(A.id, HASH, z=Z, members=known(BOB.devices[0])), listener())
    assert found == [("dialler", Stranger())]
