"""Connecting: decoders under any bytes, NAT verdicts under any samples, promises kept in any order."""

from __future__ import annotations

from contextlib import suppress
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from identity.errors import DecodeError
from netstack.connect.allowance import Allowance
from netstack.connect.blind_relay import Pair, decode_pair, decode_unpair, encode_pair
from netstack.connect.nat import NatSamples
from netstack.connect.secure_payload import (
    HolepunchMessage,
    PunchPayload,
    SecurePayload,
    decode_holepunch,
    decode_punch,
    encode_holepunch,
    encode_punch,
)
from netstack.connect.tasks import Promise, Tasks
from netstack.wire.messages import Firewall
from tests.support.nat import Internet
from tests.support.streams import stream
from tests.unit.netstack_connect.test_pairs import BOB, behind, listening
from tests.unit.netstack_connect.test_paths import RELAY, relay

number = st.integers(0, 2**53 - 1)
token = st.binary(min_size=32, max_size=32)
address = st.tuples(
    st.tuples(*[st.integers(0, 255)] * 4).map(lambda parts: ".".join(map(str, parts))), st.integers(0, 65535)
)
payloads = st.builds(
    PunchPayload,
    number,
    number,
    number,
    st.booleans(),
    st.booleans(),
    st.none() | st.lists(address, max_size=16).map(tuple),
    st.none() | address,
    st.none() | token,
    st.none() | token,
)
messages = st.builds(HolepunchMessage, number, number, st.binary(max_size=300), st.none() | address)


@given(messages, payloads, st.builds(Pair, st.booleans(), token, st.integers(0, 2**32 - 1), number))
def test_holepunch_and_relay_messages_decode_to_what_was_encoded(
    message: HolepunchMessage, payload: PunchPayload, pair: Pair
) -> None:
    assert decode_holepunch(encode_holepunch(message)) == message
    assert decode_punch(encode_punch(payload)) == payload
    assert decode_pair(encode_pair(pair)) == pair
    ours, theirs = (SecurePayload(b"h" * 64, stream(name)) for name in ("a", "b"))
    assert theirs.open(ours.seal(payload)) == payload


@given(st.binary(max_size=400))
def test_decoders_raise_only_decode_error_for_any_bytes(data: bytes) -> None:
    for decode in (
        decode_holepunch,
        decode_punch,
        decode_pair,
        decode_unpair,
        SecurePayload(b"h" * 64, stream(1)).open,
    ):
        with suppress(DecodeError):
            decode(data)


@given(st.lists(st.tuples(address, address), max_size=40), st.integers(0, 40))
def test_nat_verdict_is_consistent_for_any_samples(
    samples: list[tuple[tuple[str, int], tuple[str, int]]], frozen: int
) -> None:
    nat = NatSamples()
    told: list[tuple[Firewall, object]] = []
    for at, (seen, by) in enumerate(samples):
        if at == frozen:
            nat.freeze()
        nat.add(seen, by)
        told.append((nat.firewall, nat.addresses))
        assert (nat.addresses is None) == (nat.firewall is Firewall.UNKNOWN)
        assert len(nat.addresses or ()) <= 4
        assert {host for host, _ in nat.addresses or ()} <= {host for (host, _), _ in samples}
    assert len(set(told[frozen:])) <= 1
    assert nat.sampled <= 16


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 5)), max_size=60))
def test_an_allowance_is_never_exceeded(asked: list[tuple[int, float]]) -> None:
    allowance = Allowance(3, 0.5, 8)
    now, granted = 0.0, 0
    for host, wait in asked:
        now += wait
        granted += allowance.spend(f"10.0.0.{host % 2}", now)
        assert granted <= 2 * (3 + 0.5 * now)
    assert len(allowance) <= 8


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_tasks_continue_in_order_of_promises_and_cancelled_ones_close(order: list[int], cancelled: set[int]) -> None:
    tasks = Tasks()
    promises: list[Promise[int]] = [Promise() for _ in range(6)]
    seen: list[int] = []
    closed: list[int] = []

    async def wait(at: int) -> None:
        try:
            seen.append(await promises[at])
            await tasks.sleep(1.0)
        finally:
            closed.append(at)

    running = [tasks.spawn(wait(at)) for at in range(6)]
    tasks.run(0.0)
    for at in cancelled:
        running[at].cancel()
    for at in order:
        promises[at].keep(at)
        promises[at].keep(-1)
        tasks.run(0.0)
    assert seen == [at for at in order if at not in cancelled]
    tasks.wake(1.0)
    assert sorted(closed) == list(range(6))
    assert len(tasks) == 0
    assert tasks.next_wake() == inf


def test_a_task_may_cancel_itself_and_those_it_waits_for() -> None:
    tasks = Tasks()
    ended: list[str] = []

    async def child() -> None:
        try:
            await tasks.sleep(100)
        finally:
            ended.append("child")

    async def parent() -> None:
        try:
            await tasks.together([child(), child()])
        finally:
            ended.append("parent")

    task = tasks.spawn(parent())
    tasks.run(0.0)
    task.cancel()
    assert ended == ["child", "child", "parent"]

    async def suicide() -> None:
        own.cancel()
        ended.append("still here")
        await tasks.sleep(1)
        ended.append("never")

    own = tasks.spawn(suicide())
    tasks.run(0.0)
    assert ended[3:] == ["still here"]
    assert (len(tasks), tasks.next_wake()) == (0, inf)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["open", "cone", "symmetric"]),
    st.sampled_from(["cone", "symmetric"]),
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 600), st.integers(0, 255)), max_size=60),
)
def test_attempt_with_damaged_datagrams_ends_and_leaves_nothing(
    client: str, server: str, hits: list[tuple[int, int, int]]
) -> None:
    """(datagrams until the next one that is hit, where, how) of everything that two hosts and twelve nodes say."""
    net = Internet(seed=5, nodes=12)
    bridge = relay(net)
    ada, bob = behind(net, client, RELAY.public), behind(net, server)
    net.run(5)
    listening(net, bob)
    waiting = iter(hits)
    state = [next(waiting, None)]
    left = [state[0][0] if state[0] else 0]

    def spoil(data: bytes) -> list[bytes]:
        hit = state[0]
        if hit is None or left[0] > 0:
            left[0] -= 1
            return [data]
        _, where, how = hit
        state[0] = next(waiting, None)
        left[0] = state[0][0] if state[0] else 0
        changed = bytearray(data)
        changed[where % len(data)] ^= how
        return [[], [data, data], [data[: where % len(data)]], [bytes(changed)], [bytes(changed), data]][how % 5]

    net.spoil = spoil
    conn = ada.connect(BOB.public)
    ada.turn()
    net.run(90, lambda: bool(ada.opened or ada.failed))
    assert len(ada.opened) + len(ada.failed) == 1
    ada.core.abort(conn, net.now)
    ada.turn()
    net.run(180)
    assert [len(host.core) for host in (ada, bob, bridge)] == [0, 0, 0]
    assert [len(host.ports) for host in (ada, bob, bridge)] == [2, 2, 2]
