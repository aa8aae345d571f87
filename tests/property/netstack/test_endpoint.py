"""Endpoints on a wire that changes, drops, doubles and invents datagrams: nothing raises, nothing false arrives."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.events import Frame, Opened
from netstack.udp.port import Address
from tests.unit.netstack_endpoint.wire import A, B, C, Story

Damage = list[tuple[int, int, int]]  # (datagrams until the next one that is hit, where, how)
damage = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1300), st.integers(0, 255)), max_size=40)


@settings(max_examples=60)
@given(damage, st.lists(st.integers(0, 4000), max_size=12))
def test_received_frames_are_a_prefix_of_those_sent_over_a_damaged_network(hits: Damage, sizes: list[int]) -> None:
    story = Story()
    waiting = iter(hits)
    state = next(waiting, None)
    left = state[0] if state else 0

    def spoil(source: Address, target: Address, data: bytes) -> list[bytes]:
        nonlocal state, left
        if state is None:
            return [data]
        if left:
            left -= 1
            return [data]
        _, where, how = state
        state = next(waiting, None)
        left = state[0] if state else 0
        if how == 0:
            return []
        if how < 20:
            return [data, data[: where % (len(data) + 1)]]
        changed = bytearray(data)
        changed[where % len(data)] ^= how
        story.inject(C, target, bytes(changed))  # and from a stranger too
        return [bytes(changed)] if how % 2 else [bytes(changed), data]

    story.filter = spoil
    conn = story.dial()
    story.run(3)
    sent = [bytes((n % 256,)) * size for n, size in enumerate(sizes, 1)]
    for frame in sent:
        story.ada.send(conn, frame, story.now)
    story.run(30)
    frames = [event.data for event in story.seen[B] if isinstance(event, Frame)]
    wanted = [frame for frame in sent if frame]
    assert frames == wanted[: len(frames)]
    for seen in (story.seen[A], story.seen[B]):
        assert sum(isinstance(event, Opened) for event in seen) <= 1


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from([b"", b"\x03", b"\x13", b"\xff\x01", b"\x00"]), st.binary(max_size=200)), max_size=60
    )
)
def test_any_datagrams_do_not_disturb_an_endpoint(datagrams: list[tuple[bytes, bytes]]) -> None:
    story = Story()
    at_ada, _ = story.opened()
    for first, rest in datagrams:
        for source in (A, C):
            story.inject(source, B, first + rest)
    story.run(2)
    story.ada.send(at_ada, b"still here", story.now)
    story.run(2)
    assert story.frames(B) == [b"still here"]
