"""Names on a local network: peers of the topic recognise them, others learn and link nothing."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.errors import DecodeError
from identity.keys import SigningKey
from netstack.swarm.core.lan import (
    MAX_HEARD,
    MAX_JOINED,
    Lan,
    Notice,
    PeerFound,
    Publish,
    Withdraw,
    local,
    make_notice,
    read_notice,
    recognise,
    rendezvous_of,
)
from tests.support.vectors import matches

ADA, BOB = (SigningKey.from_seed(seed * 32).public for seed in (b"a", b"b"))
TOPIC, OTHER = b"t" * 32, b"o" * 32
DAY = 20_781
HERE = ["10.0.0.7"]


def lan(seed: int = 1, day: int = DAY) -> Lan:
    return Lan(Random(seed).randbytes, day)


def published(lan: Lan) -> Notice:
    (notice,) = [effect.notice for effect in lan.take_effects() if isinstance(effect, Publish)]
    return notice


def test_peers_of_a_topic_find_each_other_in_either_order() -> None:
    ada, bob = lan(1), lan(2)
    ada.join(TOPIC, ADA, client=True)
    notice = published(ada)
    bob.heard(notice.label.upper(), notice.body, 4000, HERE)  # names have no case
    assert bob.take_effects() == []
    bob.join(TOPIC, BOB, client=True)
    met = PeerFound(TOPIC, ADA, (("10.0.0.7", 4000),))
    assert [effect for effect in bob.take_effects() if not isinstance(effect, Publish)] == [met]
    bob.heard(notice.label, notice.body, 4000, HERE)
    assert bob.take_effects() == [met]
    ada.heard(notice.label, notice.body, 4000, HERE)  # one's own comes back
    assert ada.take_effects() == []


def test_peer_is_found_by_its_key_and_a_pure_server_finds_none() -> None:
    ada, bob = lan(1), lan(2)
    ada.join(rendezvous_of(ADA), ADA, client=False)
    notice = published(ada)
    bob.join(rendezvous_of(ADA), None, client=True)
    assert bob.known(notice.label)
    bob.heard(notice.label, notice.body, 4000, HERE)
    assert bob.take_effects() == [PeerFound(rendezvous_of(ADA), ADA, (("10.0.0.7", 4000),))]
    ada.heard(*_notice(rendezvous_of(ADA), BOB), 1, HERE)
    assert ada.take_effects() == []


def test_names_reveal_and_link_nothing_to_others() -> None:
    notices = [make_notice(TOPIC, ADA, DAY + day, Random(n).randbytes(8)) for day in (0, 1) for n in range(200)]
    assert {len(notice.label) for notice in notices} == {32} and {len(notice.body) for notice in notices} == {48}
    assert all(recognise(notice.label, [OTHER, rendezvous_of(ADA)], DAY) is None for notice in notices)
    pieces = [notice.label[at : at + 8] for notice in notices for at in range(0, 32, 8)]
    pieces += [notice.body[at : at + 8].hex() for notice in notices for at in range(0, 48, 8)]
    draws = {notice.label[:8] for notice in notices}  # the same 200 in both days of this test
    assert len(set(pieces)) == len(pieces) - (len(notices) - len(draws))
    assert not any(ADA[at : at + 4] in notice.body for notice in notices for at in range(29))
    with pytest.raises(DecodeError):
        read_notice(notices[0], OTHER, DAY)


def test_names_change_in_the_first_hour_of_a_day_and_stay_readable_for_one_more() -> None:
    ada, bob = lan(1), lan(2, DAY + 1)
    ada.join(TOPIC, ADA, client=True)
    first = published(ada)
    bob.join(TOPIC, None, client=True)
    bob.heard(first.label, first.body, 4000, HERE)
    assert len(bob.take_effects()) == 1
    ada.wake(DAY, 10.0)
    ada.wake(DAY + 1, 20.0)
    due = ada.next_wake()
    assert 20.0 <= due <= 3620.0 and ada.take_effects() == []
    ada.wake(DAY + 1, due)
    withdraw, publish = ada.take_effects()
    assert withdraw == Withdraw(first) and isinstance(publish, Publish) and publish.notice.label != first.label
    third = lan(3, DAY + 2)
    third.join(TOPIC, None, client=True)
    third.heard(first.label, first.body, 4000, HERE)
    assert third.take_effects() == []
    third.heard(publish.notice.label, publish.notice.body, 4000, HERE)
    assert len(third.take_effects()) == 1


def test_copied_name_with_another_body_is_ignored() -> None:
    bob = lan()
    bob.join(TOPIC, None, client=True)
    label, body = _notice(TOPIC, ADA)
    for forged in (bytes(48), body[:-1], body + b"x", bytes([body[0] ^ 1]) + body[1:]):
        bob.heard(label, forged, 4000, HERE)
    for port in (0, -1, 65_536):
        bob.heard(label, body, port, HERE)
    bob.heard(label, body, 4000, ["8.8.8.8", "224.0.0.1", "0.0.0.0", "fe80::1", "no address"])
    sealed_nonsense = Notice(*_notice(TOPIC, b"\x02" + bytes(31)))  # a key that is no point
    bob.heard(sealed_nonsense.label, sealed_nonsense.body, 4000, HERE)
    assert bob.take_effects() == []


def test_tables_are_bounded() -> None:
    bob = lan()
    for n in range(MAX_JOINED + 5):
        assert bob.join(n.to_bytes(32, "big"), BOB, client=True) == (n < MAX_JOINED)
    for n in range(MAX_HEARD + 5):
        bob.heard(*_notice(OTHER, ADA, n), 4000, HERE)
    assert len(bob._heard) == MAX_HEARD


def test_leaving_or_changing_withdraws_the_published_name() -> None:
    ada = lan()
    ada.join(TOPIC, ADA, client=True)
    notice = published(ada)
    ada.join(TOPIC, ADA, client=False)
    assert ada.take_effects() == []
    ada.join(TOPIC, None, client=True)
    assert ada.take_effects() == [Withdraw(notice)]
    ada.leave(TOPIC)
    ada.leave(TOPIC)
    assert ada.take_effects() == []


@given(
    st.text(max_size=70), st.binary(max_size=64), st.integers(-1, 70_000), st.lists(st.text(max_size=20), max_size=9)
)
def test_arbitrary_names_never_raise(label: str, body: bytes, port: int, addresses: list[str]) -> None:
    bob = lan()
    bob.join(TOPIC, BOB, client=True)
    bob.take_effects()
    bob.heard(label, body, port, addresses)
    bob.known(label)
    bob.gone(label)
    assert bob.take_effects() == []


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=8, max_size=8), st.integers(-1, 1))
def test_notice_is_recognised_and_read_within_a_day(rendezvous: bytes, draw: bytes, apart: int) -> None:
    notice = make_notice(rendezvous, ADA, DAY, draw)
    assert recognise(notice.label, [OTHER, rendezvous], DAY + apart) == (rendezvous, DAY)
    assert read_notice(notice, rendezvous, DAY) == ADA


def test_only_private_ipv4_addresses_count_as_local() -> None:
    assert [local(host) for host in ("10.1.2.3", "192.168.0.9", "172.16.0.1", "169.254.7.7", "127.0.0.1")] == [True] * 5
    assert [local(host) for host in ("8.8.8.8", "255.255.255.255", "239.1.1.1", "0.0.0.0", "::1", "")] == [False] * 6


def test_notices_match_vectors() -> None:
    made = [
        {"rendezvous": rendezvous.hex(), "key": key.hex(), "day": day, "draw": draw.hex()}
        | {"label": (notice := make_notice(rendezvous, key, day, draw)).label, "body": notice.body.hex()}
        for rendezvous, key, day, draw in (
            (TOPIC, ADA, DAY, bytes(8)),
            (OTHER, BOB, 0, b"\xff" * 8),
            (rendezvous_of(ADA), ADA, -1, bytes(range(8))),
        )
    ]
    for kept in matches("netstack-lan", made):
        rendezvous, day = bytes.fromhex(kept["rendezvous"]), kept["day"]
        assert recognise(kept["label"], [rendezvous], day) == (rendezvous, day)
        notice = Notice(kept["label"], bytes.fromhex(kept["body"]))
        assert read_notice(notice, rendezvous, day).hex() == kept["key"]


def _notice(rendezvous: bytes, key: bytes, draw: int = 0) -> tuple[str, bytes]:
    notice = make_notice(rendezvous, key, DAY, draw.to_bytes(8, "big"))
    return notice.label, notice.body
