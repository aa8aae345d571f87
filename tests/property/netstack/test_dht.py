"""The DHT under any bytes and any order: decoders, tables, window, caches, and a whole node."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from identity.errors import DecodeError
from identity.keys import SigningKey
from netstack import namespaces
from netstack.dht.ask import Ask
from netstack.dht.contact import Scope, contact_at, shared_prefix
from netstack.dht.datagram import Request, Response, decode_datagram, encode_request, encode_response
from netstack.dht.events import Mode
from netstack.dht.limits import DhtLimits
from netstack.dht.node import DhtNode
from netstack.dht.records import (
    Announce,
    LookupReply,
    Mutable,
    PeerRecord,
    decode_announce,
    decode_lookup,
    decode_mutable,
    decode_mutable_put,
    decode_peer,
    decode_seq,
    encode_announce,
    encode_lookup,
    encode_mutable,
    encode_mutable_put,
    encode_peer,
    encode_seq,
    sign_announce,
    sign_mutable,
    verify_announce,
    verify_mutable,
)
from netstack.dht.rpc import Window
from netstack.dht.sampler import NatSampler
from netstack.dht.store import OVERHEAD, ExpiringCache, Records
from netstack.dht.table import Entry, K, RoutingTable
from netstack.dht.token import Tokens
from netstack.ports import CLIENT, SERVER

KEY = SigningKey.from_seed(b"k" * 32)
OTHER = SigningKey.from_seed(b"o" * 32)
key32 = st.binary(min_size=32, max_size=32)
number = st.integers(0, 2**53 - 1)
address = st.tuples(
    st.tuples(*[st.integers(0, 255)] * 4).map(lambda parts: ".".join(map(str, parts))), st.integers(0, 65535)
)
peer = st.builds(PeerRecord, key32, st.lists(address, max_size=64).map(tuple))
mutable = st.builds(Mutable, number, st.binary(max_size=1000), st.binary(min_size=64, max_size=64))
announce = st.builds(
    Announce, st.none() | peer, st.none() | key32, st.none() | st.binary(min_size=64, max_size=64), number
)
request = st.builds(
    Request,
    st.integers(0, 65535),
    address,
    st.integers(0, 12),
    st.booleans(),
    st.none() | key32,
    st.none() | st.binary(max_size=200),
    st.none() | key32,
    st.none() | key32,
)
response = st.builds(
    Response,
    st.integers(0, 65535),
    address,
    st.none() | st.binary(max_size=200),
    st.integers(0, 65535),
    st.lists(address, max_size=20).map(tuple),
    st.none() | key32,
    st.none() | key32,
)
DECODERS: tuple[Callable[[bytes], object], ...] = (
    decode_datagram,
    decode_announce,
    decode_lookup,
    decode_mutable,
    decode_mutable_put,
    decode_peer,
    decode_seq,
)


@given(st.binary(max_size=300) | st.builds(bytes.__add__, st.sampled_from([b"\x03", b"\x13"]), st.binary(max_size=300)))
def test_decoders_return_a_value_or_raise_decode_error_for_any_bytes(data: bytes) -> None:
    for decode in DECODERS:
        with suppress(DecodeError):
            decode(data)


@given(request | response, st.data())
def test_truncated_datagrams_are_decoded_or_refused(message: Request | Response, data: st.DataObject) -> None:
    whole = encode_request(message) if isinstance(message, Request) else encode_response(message)
    assert decode_datagram(whole) == message
    assert decode_datagram(whole + b"more") == message, "the family grows at the end"
    with suppress(DecodeError):
        assert decode_datagram(whole[: data.draw(st.integers(0, len(whole) - 1))]) != message


@given(peer, mutable, announce, number, st.lists(peer, max_size=20))
def test_records_decode_to_what_was_encoded(
    one: PeerRecord, value: Mutable, said: Announce, bump: int, peers: list[PeerRecord]
) -> None:
    assert decode_peer(encode_peer(one)) == one
    assert decode_mutable(encode_mutable(value)) == value
    assert decode_mutable_put(encode_mutable_put(KEY.public, value)) == (KEY.public, value)
    assert decode_announce(encode_announce(said)) == said
    assert decode_seq(encode_seq(bump)) == bump
    assert decode_lookup(encode_lookup(list(map(encode_peer, peers)), bump)) == LookupReply(tuple(peers), bump)


@settings(max_examples=25)
@given(key32, key32, key32, st.lists(address, max_size=3).map(tuple), st.none() | key32, st.data())
def test_announcement_verifies_only_for_its_node_and_token(
    target: bytes,
    node: bytes,
    token: bytes,
    relays: tuple[tuple[str, int], ...],
    refresh: bytes | None,
    data: st.DataObject,
) -> None:
    said = decode_announce(encode_announce(sign_announce(KEY, target, node, token, relays, refresh=refresh, bump=5)))
    assert verify_announce(said, target, node, token, namespaces.ANNOUNCE)
    assert not verify_announce(said, target, node, token, namespaces.UNANNOUNCE)
    which = data.draw(st.integers(0, 2))
    changed = [target, node, token]
    changed[which] = bytes([changed[which][0] ^ 1]) + changed[which][1:]
    assert not verify_announce(said, changed[0], changed[1], changed[2], namespaces.ANNOUNCE)
    assert said.peer is not None
    for forged in (
        Announce(PeerRecord(OTHER.public, relays), refresh, said.signature),
        Announce(PeerRecord(KEY.public, (*relays, ("203.0.113.1", 1))), refresh, said.signature),
        Announce(said.peer, bytes(31) + b"x", said.signature),
        Announce(said.peer, refresh, None),
        Announce(None, refresh, said.signature),
        Announce(PeerRecord(bytes(32), relays), refresh, said.signature),
    ):
        assert not verify_announce(forged, target, node, token, namespaces.ANNOUNCE)


@settings(max_examples=25)
@given(number, st.binary(min_size=1, max_size=100), st.binary(min_size=64, max_size=64))
def test_mutable_value_verifies_only_with_its_key_and_number(seq: int, value: bytes, noise: bytes) -> None:
    signed = sign_mutable(KEY, seq, value)
    assert verify_mutable(signed, KEY.public)
    assert not verify_mutable(signed, OTHER.public)
    assert not verify_mutable(Mutable(seq ^ 1, value, signed.signature), KEY.public)
    assert not verify_mutable(Mutable(seq, value + b"x", signed.signature), KEY.public)
    assert not verify_mutable(Mutable(seq, value, noise), KEY.public)
    assert not verify_mutable(signed, noise[:32])


@given(key32, st.lists(st.tuples(st.booleans(), address), max_size=150), key32)
def test_table_is_bounded_and_returns_the_closest_nodes(
    own: bytes, moves: list[tuple[bool, tuple[str, int]]], target: bytes
) -> None:
    table = RoutingTable(own)
    model: dict[bytes, int] = {}
    base = int.from_bytes(own, "big")
    for adding, place in moves:
        contact = contact_at(place)
        at = shared_prefix(base, contact.number)
        if adding:
            room = sum(shared == at for shared in model.values()) < K
            assert table.add(Entry(contact, 0)) == (contact.id not in model and contact.id != own and room)
            if contact.id != own and room:
                model[contact.id] = at
        else:
            assert (table.remove(contact.id) is not None) == (model.pop(contact.id, None) is not None)
    assert len(table) == len(model) == len(list(table))
    assert {entry.contact.id for entry in table} == set(model)
    wanted = int.from_bytes(target, "big")
    nearest = sorted(model, key=lambda id: int.from_bytes(id, "big") ^ wanted)[:K]
    assert [contact.id for contact in table.closest(target)] == nearest


@given(st.lists(st.tuples(st.sampled_from(["sent", "settled"]), st.floats(0, 5)), max_size=300))
def test_congestion_window_never_exceeds_its_limits(moves: list[tuple[str, float]]) -> None:
    limits = DhtLimits()
    window = Window(limits)
    now = 1000.0
    for move, later in moves:
        now += later / 50
        if move == "settled":
            window.settled(now)
        elif not window.full(now):
            window.sent(now)
        assert 0 <= window.total <= limits.window
        assert window.total == sum(window._slots)
        assert max(window._slots) <= limits.per_slot


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.integers(0, 900), st.floats(0, 20)), max_size=200)
)
def test_expiring_cache_never_exceeds_its_bounds(moves: list[tuple[int, str, int, float]]) -> None:
    cache: ExpiringCache[int] = ExpiringCache(20, 50.0, share=2, most_bytes=6000)
    now = 0.0
    for key, host, size, later in moves:
        now += later
        cache.put(bytes([key]), key, now, host, size)
        assert len(cache) <= 20
        assert cache._bytes == sum(item.size for item in cache._items.values()) <= 6000 + OVERHEAD
        assert sum(map(len, cache._shares._networks.values())) == len(cache)
        assert all(len(written) <= 10 for written in cache._shares._networks.values())
        assert cache.get(bytes([key]), now) == key
    cache.sweep(now + 51)
    assert (len(cache), cache._bytes, cache._shares._networks) == (0, 0, {})


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.sampled_from("abcd"), st.floats(0, 90)), max_size=150),
    st.integers(0, 2**32),
)
def test_drawn_announcements_are_alive(moves: list[tuple[int, int, str, float]], seed: int) -> None:
    limits = DhtLimits(records=60, topic_records=25, share=2)
    records = Records(limits, random.Random(seed).randbytes)
    now = 0.0
    for topic, key, host, later in moves:
        now += later
        records.add(bytes([topic]), bytes([key]), bytes([topic, key]), host, now)
        assert len(records) <= 60
        drawn = records.draw(bytes([topic]), now)
        assert len(drawn) == len(set(drawn)) <= 20
        assert all(peer[0] == topic for peer in drawn)
        assert all(len(held) <= 25 for held in records._topics.values())
        assert sum(map(len, records._topics.values())) == len(records)
    records.sweep(now + limits.record_life)
    assert len(records) == 0
    assert records._topics == {}


@given(st.lists(address, min_size=1, max_size=60))
def test_nat_sampler_reports_only_sampled_addresses(samples: list[tuple[str, int]]) -> None:
    sampler = NatSampler()
    for sample in samples:
        sampler.add(sample)
    recent = samples[-16:]
    if sampler.address is not None:
        assert sampler.host in {host for host, _ in recent}
        assert sampler.port == 0 or sampler.address in recent
    if len(set(recent)) == 1 and len(samples) == len(recent):
        assert sampler.address == recent[0]


@given(st.floats(0, 1e6), st.floats(0, 40), address)
def test_a_token_lives_for_one_to_two_turns(start: float, age: float, host: tuple[str, int]) -> None:
    tokens = Tokens(random.Random(0).randbytes)
    token = tokens.token(host[0], start)
    good = tokens.valid(token, host[0], start + age)
    assert good or age > 7.4
    assert not good or age < 15.1


BOOTSTRAP = [("198.18.0.9", 49737)]
SOURCE = ("198.18.0.77", 4000)


def fresh_node() -> DhtNode:
    node = DhtNode(random.Random(3).randbytes, 0.0, bootstrap=BOOTSTRAP, mode=Mode.PERSISTENT, host="198.18.0.1")
    node.bound(CLIENT, ("0.0.0.0", 5000))
    node.bound(SERVER, ("0.0.0.0", 49737))
    return node


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.binary(max_size=120) | request.map(encode_request) | response.map(encode_response),
            address | st.sampled_from([SOURCE, *BOOTSTRAP]) | st.just(("2001:db8::1", 5)),
            st.sampled_from([SERVER, CLIENT, 17]),
            st.floats(0, 3),
        ),
        max_size=40,
    )
)
def test_any_datagrams_leave_a_node_within_its_limits(
    datagrams: list[tuple[bytes, tuple[str, int], int, float]],
) -> None:
    node = fresh_node()
    now = 0.0
    for data, source, port, later in datagrams:
        now += later
        node.receive(data, source, port, now)
        node.wake(now)
        for out in node.outgoing():
            assert decode_datagram(out.data)
            assert contact_at(out.address).scope is not Scope.NOWHERE
        node.take_effects()
    assert node.next_wake() < inf
    node.wake(now + 60)
    assert node.stats().inflight <= node.limits.inflight


@settings(max_examples=100)
@given(response, st.integers(0, 8))
def test_walk_ends_whatever_nodes_answer(answer: Response, which: int) -> None:
    """Whatever a node answers under the right number, the walk goes on and ends."""
    node = fresh_node()
    ended: list[object] = []
    commands = [(2, True), *[(command, False) for command in (2, 3, 7, 9)]]
    command, internal = commands[which % len(commands)]
    ask = Ask(command, internal=internal, target=b"t" * 32, value=b"\x00")
    node.query(ask, on_done=ended.append, nodes=BOOTSTRAP)
    now = 0.0
    while not ended:
        for out in node.outgoing():
            asked = decode_datagram(out.data)
            if isinstance(asked, Request):
                node.receive(encode_response(answer._replace(tid=asked.tid)), out.address, out.port, now)
        now += 1.0
        node.wake(now)
        assert now < 600
    assert len(ended) == 1
