"""A swarm's core under any order of events: its bounds hold, and every connection is used or closed once."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.swarm.core.effects import Abandon, Dial, Drop, SwarmLimits, Take
from netstack.swarm.core.swarm import SwarmCore

US = b"\x80" * 32
OTHERS = [bytes([number]) * 32 for number in (1, 2, 127, 129, 254)]
TOPICS = [b"t" * 32, b"u" * 32]
LIMITS = SwarmLimits(peers=3, parallel=2, slow=1, known=4)

who = st.integers(0, len(OTHERS) - 1)
MOVES = st.one_of(
    st.tuples(st.just("found"), who, st.integers(0, 1), st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.just("located"), who, st.integers(0, 2)),
    st.tuples(st.just("arrive"), who),
    st.tuples(st.just("answer"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("lose"), st.integers(0, 9)),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 0.5, 1.5, 3.5, 20.0, 700.0])),
    st.tuples(st.sampled_from(["ban", "unban", "join", "leave"]), who),
    st.tuples(st.sampled_from(["want", "unwant"]), st.integers(0, 1)),
    st.tuples(st.sampled_from(["suspend", "resume", "hurry"])),
)


class World:
    """The state of a correct shell: dials under way, open connections, and those in use by the application."""

    def __init__(self) -> None:
        self.core = SwarmCore(US, Random(7).randbytes, LIMITS)
        self.now = 0.0
        self.dials: list[bytes] = []
        self.open: dict[int, bytes] = {}
        self.taken: dict[bytes, int] = {}
        self.last = 0
        for topic in TOPICS:
            self.core.dial_for(topic, True)

    def serve(self) -> None:
        for effect in self.core.take_effects():
            match effect:
                case Dial(key):
                    assert key not in self.dials and key not in self.taken
                    self.dials.append(key)
                case Abandon(key):
                    self.dials.remove(key)
                case Take(key, conn):
                    assert self.open[conn] == key and self.taken.get(key) != conn
                    self.taken[key] = conn
                case Drop(conn):
                    key = self.open.pop(conn)
                    if self.taken.get(key) == conn:
                        del self.taken[key]
        assert len(self.dials) <= LIMITS.parallel + LIMITS.slow and len(set(self.dials)) == len(self.dials)
        status = self.core.status()
        assert status.known <= LIMITS.known and status.dialling == len(self.dials)
        assert status.connected == len(self.taken)
        # every open connection is in use, or the one spare of its peer
        spare = [key for conn, key in self.open.items() if self.taken.get(key) != conn]
        assert len(set(spare)) == len(spare)

    def arrived(self, key: bytes, initiator: bool) -> None:
        self.last += 1
        self.open[self.last] = key
        self.core.opened(key, self.last, initiator, self.now)

    def move(self, name: str, *given: object) -> None:
        core, now = self.core, self.now
        match name, given:
            case "found", (int(peer), int(topic), int(relay), int(address)):
                core.found(TOPICS[topic], OTHERS[peer], now, relays=place(relay), addresses=place(address))
            case "located", (int(peer), int(address)):
                core.located(OTHERS[peer], place(address), now)
            case "arrive", (int(peer),) if core.accepts(OTHERS[peer], now):
                self.arrived(OTHERS[peer], False)
            case "answer", (int(at), bool(good)) if self.dials:
                key = self.dials.pop(at % len(self.dials))
                if good:
                    self.arrived(key, True)
                else:
                    core.failed(key, now)
            case "lose", (int(at),) if self.open:
                conn = sorted(self.open)[at % len(self.open)]
                key = self.open.pop(conn)
                if self.taken.get(key) == conn:
                    del self.taken[key]
                core.closed(key, conn, now)
            case "wait", (float(seconds),):
                self.now += seconds
                core.wake(self.now)
                assert core.next_wake() > self.now
            case "ban", (int(peer),):
                core.ban(OTHERS[peer], now)
            case "unban", (int(peer),):
                core.unban(OTHERS[peer])
            case "join", (int(peer),):
                core.join_peer(OTHERS[peer], now)
            case "leave", (int(peer),):
                core.leave_peer(OTHERS[peer])
            case "want" | "unwant", (int(topic),):
                core.dial_for(TOPICS[topic], name == "want")
            case "suspend", ():
                core.suspend()
            case "resume", ():
                core.resume(now)
            case "hurry", ():
                core.retry_now(now)
            case _:
                return
        self.serve()


def place(number: int) -> tuple[tuple[str, int], ...]:
    return ((f"10.0.0.{number}", number),) if number else ()


@settings(max_examples=300)
@given(st.lists(MOVES, max_size=60))
def test_bounds_hold_and_every_connection_is_used_or_closed_once(moves: list[tuple[object, ...]]) -> None:
    world = World()
    for name, *given_ in moves:
        world.move(str(name), *given_)
    world.core.suspend()
    world.serve()
    assert not world.open and not world.taken and not world.dials
