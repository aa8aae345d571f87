"""A hostile DHT: nodes that lie, forge, replay, flood and crowd, and what honest ones see of it.

Everything runs on the production node in the simulator.  `docs/threat-model.md`, "The DHT", has what is proved here and
what is not.
"""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from identity.keys import SigningKey
from netstack.dht import hyper
from netstack.dht.contact import contact_at, network_of
from netstack.dht.datagram import (
    ANNOUNCE,
    DELAYED_PING,
    DOWN_HINT,
    FIND_NODE,
    FIND_PEER,
    IMMUTABLE_GET,
    IMMUTABLE_PUT,
    LOOKUP,
    MUTABLE_GET,
    MUTABLE_PUT,
    PING,
    PING_NAT,
    UNANNOUNCE,
    Request,
    Response,
    decode_datagram,
    encode_request,
    encode_response,
)
from netstack.dht.events import Mode, NetworkChanged
from netstack.dht.limits import DhtLimits
from netstack.dht.records import (
    LookupReply,
    Mutable,
    PeerRecord,
    encode_announce,
    encode_mutable_put,
    encode_peer,
    encode_seq,
    hashed,
    sign_announce,
    sign_mutable,
    verify_mutable,
)
from netstack.dht.store import Forward, Renewal, Store
from netstack.udp.port import Address
from tests.support.dht_census import Census
from tests.support.dht_liars import (
    FALSE_HOST,
    LIES,
    MALLORY,
    Clique,
    Forger,
    Liar,
    Lie,
    Seeker,
    Victim,
    among_liars,
    meet,
)
from tests.support.dht_network import PORT, Member, Network, public_host

ADA = SigningKey.from_seed(b"a" * 32)
BOB = SigningKey.from_seed(b"b" * 32)
TOPIC = hashed(b"chess")
ELSEWHERE = ("99.1.2.3", 4242)  # no member
HEADERS = 28  # bytes of IPv4 and UDP around every datagram


def guest(net: Network, mode: Mode = Mode.EPHEMERAL) -> Member:
    member = net.join(bootstrap=[net.members[0].address], mode=mode)
    net.until(lambda: member.ready, limit=300)
    return member


def asked(net: Network, member: Member, start: Callable[[Callable[[Any], None]], object]) -> Any:
    """Starts a walk at `member`; what it was told at the end."""
    done: list[Any] = []
    member.node.now = net.now
    start(done.append)
    net.flush(member)
    net.until(lambda: bool(done), limit=300)
    return done[0]


def seekers(net: Network) -> list[Seeker]:
    relay = net.members[0].address
    ada, bob = guest(net), guest(net)
    return [Seeker(net, ada, TOPIC, ADA, [relay]), Seeker(net, bob, TOPIC, BOB, [relay])]


class Wire:
    """All datagrams of a network, as they leave."""

    def __init__(self, net: Network) -> None:
        self.seen: list[tuple[Address, Address, bytes]] = []
        net.tap = self._note

    def _note(self, source: Address, to: Address, data: bytes) -> bytes:
        self.seen.append((source, to, data))
        return data

    def to(self, host: str) -> list[bytes]:
        return [data for _, to, data in self.seen if to[0] == host]


# a third of all nodes lie


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name.replace(" ", "-"))
def test_honest_peers_meet_when_a_third_of_the_nodes_lie(lie: type[Lie]) -> None:
    """With the schedule of the product: announcement, then look-ups after 0.4, 2 and 10 s."""
    taken: list[float | None] = []
    for seed in range(9):  # six stories: 54 networks in all
        net, _ = among_liars(seed, honest=40, liars=20, lie=lie)
        both = seekers(net)
        before = [seeker.member.sent for seeker in both]
        taken.append(meet(net, both, limit=60.0))
        assert all(seeker.member.sent - sent < 600 for seeker, sent in zip(both, before, strict=True)), "datagrams"
    assert None not in taken
    assert max(seconds or 0 for seconds in taken) < 15


@pytest.mark.soak
@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name.replace(" ", "-"))
def test_honest_peers_meet_among_many_liars_and_losses(lie: type[Lie]) -> None:
    failed = []
    for seed in range(50):
        net, _ = among_liars(1000 + seed, honest=134, liars=66, lie=lie, loss=0.05)
        if meet(net, seekers(net), limit=60.0) is None:
            failed.append(seed)
    assert failed == []


def look_around(net: Network, member: Member, walks: int) -> None:
    for number in range(walks):
        topic = hashed(bytes([number]))
        asked(net, member, lambda done: hyper.lookup(member.node, topic, lambda peers, _: None, done))  # noqa: B023


def test_lies_about_our_address_are_not_believed() -> None:
    """A third of all nodes, together, see us at a host of their choice.  We do not move there."""
    for seed in range(2):
        net, _ = among_liars(seed, honest=40, liars=20, lie=Forger)
        member = guest(net, Mode.ADAPTIVE)
        look_around(net, member, 30)
        net.run(600)
        assert member.node.reach.sampler.host in (None, member.host), "at worst we do not know where we are"
        assert not [event for event in member.seen if isinstance(event, NetworkChanged)]


def test_move_to_another_network_is_noticed_although_some_nodes_lie() -> None:
    net, _ = among_liars(3, honest=50, liars=5, lie=Forger)
    member = guest(net, Mode.ADAPTIVE)
    look_around(net, member, 20)
    assert member.node.reach.sampler.host == member.host
    net.move(member, "50.1.1.1")
    look_around(net, member, 3)
    net.run(15)
    moves = [event.address for event in member.seen if isinstance(event, NetworkChanged)]
    assert [address and address[0] for address in moves] == ["50.1.1.1"]


# crowds


def beside(target: bytes, host: str, count: int) -> list[Address]:
    """The addresses of one host whose ids are nearest to `target`: 64,000 ports are as many draws."""
    census = Census(contact_at((host, port)) for port in range(1024, 65_024))
    return [contact.address for contact in census.nearest(int.from_bytes(target, "big"), count)]


def test_one_host_with_ports_near_a_topic_does_not_hide_it() -> None:
    """Forty nodes on the best ports of one host are nearer to the topic than anybody.  They keep no record."""
    net = Network(5)
    net.grow(80)
    told = Clique(net)
    for host, port in beside(TOPIC, "66.6.6.6", 40):
        (member,) = net.grow(1, host=host, port=port, kind=Liar)
        told.liars.append(contact_at(member.address))
    for member in net.members:
        if isinstance(member.node, Liar):
            member.node.lie = told
    census = Census(contact_at(member.address) for member in net.members)
    nearest = census.nearest(int.from_bytes(TOPIC, "big"))
    assert {contact.address[0] for contact in nearest} == {"66.6.6.6"}, "by distance alone they have it all"
    both = seekers(net)
    taken = meet(net, both, limit=60)
    assert taken is not None
    assert taken < 5
    announced = both[0].outcomes[0]
    assert Counter(reply.address[0] == "66.6.6.6" for reply in announced.closest) == {True: 4, False: 16}


def test_one_network_does_not_fill_the_tables() -> None:
    """Sixty nodes of one /24 come first and stay; whoever comes later still gets a place everywhere."""
    net = Network(6)
    net.grow(1)
    for number in range(60):
        net.grow(1, host=f"66.6.6.{number}")
    net.grow(60)
    first = net.members[0].node.table
    full = [first.bucket(entry.contact) for entry in first if len(first.bucket(entry.contact)) == 20]
    assert full
    for bucket in full:
        strangers = sum(not entry.address[0].startswith("66.6.6.") for entry in bucket)
        assert strangers >= 10


def test_a_topic_cannot_be_occupied_by_one_network() -> None:
    """Three hosts of one /24 announce a hundred keys; an answer has room for twenty."""
    net = Network(7)
    net.grow(30)
    ada = guest(net)
    asked(net, ada, lambda done: hyper.announce(ada.node, TOPIC, ADA, (), done))
    crowd = [net.join(mode=Mode.EPHEMERAL, host=f"66.6.6.{number}") for number in range(3)]
    net.until(lambda: all(member.ready for member in crowd))
    for number in range(100):
        member, key = crowd[number % 3], SigningKey.from_seed(bytes([number, 1]) * 16)
        asked(net, member, lambda done, m=member, k=key: hyper.announce(m.node, TOPIC, k, (), done))  # type: ignore[misc]
    bob = guest(net)
    answers: list[LookupReply] = []
    asked(net, bob, lambda done: hyper.lookup(bob.node, TOPIC, lambda peers, _: answers.append(peers), done))
    assert len(answers) == 20
    assert all(len(answer.peers) == 20 for answer in answers)
    assert all(PeerRecord(ADA.public) in answer.peers for answer in answers)


# forged, replayed, claimed


def test_values_not_signed_by_their_key_are_refused() -> None:
    """A third of the nodes answer with values of their own; whoever asks gets Ada's or none."""
    for seed in range(5):
        net, _ = among_liars(seed, honest=30, liars=15, lie=Forger)
        ada, bob = guest(net), guest(net)
        asked(net, ada, lambda done: hyper.mutable_put(ada.node, ADA, b"hers", 3, done))  # noqa: B023
        value: Mutable | None = asked(net, bob, lambda done: hyper.mutable_get(bob.node, ADA.public, done))  # noqa: B023
        assert value is not None
        assert verify_mutable(value, ADA.public)
        assert value.value == b"hers"
        assert asked(net, bob, lambda done: hyper.mutable_get(bob.node, BOB.public, done)) is None  # noqa: B023
        assert asked(net, bob, lambda done: hyper.immutable_get(bob.node, hashed(b"x"), done)) is None  # noqa: B023
        found: list[PeerRecord] = []
        asked(net, bob, lambda done: hyper.find_peer(bob.node, hashed(ADA.public), lambda p, _: found.append(p), done))  # noqa: B023
        assert found == []


def bare(net: Network, node: Member, command: int, value: bytes | None, token: bytes | None, **more: Any) -> None:
    request = Request(7, node.address, command, False, TOPIC, value, None, token)._replace(**more)
    net.inject(encode_request(request), ELSEWHERE, node.address)


def test_writes_that_are_not_signed_for_this_node_and_now_are_not_kept() -> None:
    net = Network(8)
    node, other = net.grow(2)
    token = node.node.tokens.token(ELSEWHERE[0], net.now)
    late = other.node.tokens.token(ELSEWHERE[0], net.now)
    assert node.node.id is not None
    assert other.node.id is not None
    mallory = encode_peer(PeerRecord(ADA.public))  # Ada's key under Mallory's signature
    false = sign_announce(MALLORY, TOPIC, node.node.id, token)
    writes = [
        (ANNOUNCE, encode_announce(false)[:1] + mallory + encode_announce(false)[1 + len(mallory) :], token),
        (ANNOUNCE, encode_announce(sign_announce(ADA, hashed(b"other topic"), node.node.id, token)), token),
        (ANNOUNCE, encode_announce(sign_announce(ADA, TOPIC, other.node.id, token)), token),
        (ANNOUNCE, encode_announce(sign_announce(ADA, TOPIC, node.node.id, late)), token),
        (ANNOUNCE, encode_announce(sign_announce(ADA, TOPIC, node.node.id, late)), late),
        (ANNOUNCE, encode_announce(sign_announce(ADA, TOPIC, node.node.id, token)), None),
        (UNANNOUNCE, encode_announce(sign_announce(ADA, TOPIC, node.node.id, token)), token),
        (MUTABLE_PUT, encode_mutable_put(ADA.public, sign_mutable(MALLORY, 1, b"forged")), token),
        (MUTABLE_PUT, encode_mutable_put(ADA.public, sign_mutable(ADA, 1, b"hers")), token),  # not under her hash
        (IMMUTABLE_PUT, b"does not hash to the topic", token),
    ]
    for command, value, with_token in writes:
        bare(net, node, command, value, with_token)
    net.run(1)
    assert len(node.node.store) == 0
    bare(net, node, ANNOUNCE, encode_announce(sign_announce(ADA, TOPIC, node.node.id, token)), token)
    net.run(1)
    assert len(node.node.store) == 1, "the same, as it should be"


def test_replayed_announcements_are_refused_later_and_elsewhere() -> None:
    """Everything that Ada sent is sent again: to the same nodes from elsewhere, to others, and after her leaving."""
    net = Network(9)
    nodes = net.grow(30)
    ada = guest(net)
    wire = Wire(net)
    asked(net, ada, lambda done: hyper.announce(ada.node, TOPIC, ADA, (), done))
    wrote = [
        (source, to, data)
        for source, to, data in wire.seen
        if isinstance(message := decode_datagram(data), Request) and not message.internal and message.token
    ]
    assert len(wrote) == 20
    asked(net, ada, lambda done: hyper.unannounce(ada.node, TOPIC, ADA, done))
    for _, to, data in wrote:
        net.inject(data, ELSEWHERE, to)  # another host: not its token
    for source, to, data in wrote:
        for node in nodes:
            if node.address != to:
                net.inject(data, source, node.address)  # another node: not its token, not its id
    net.run(5)
    assert sum(len(node.node.store) for node in nodes) == 0
    net.run(20)
    for source, to, data in wrote:
        net.inject(data, source, to)  # the very same, 25 s later: the token is dead
    net.run(5)
    assert sum(len(node.node.store) for node in nodes) == 0


def test_false_ids_and_forged_sources_get_no_place_in_tables() -> None:
    net = Network(10)
    nodes = net.grow(20)
    node, other = nodes[3], nodes[4]
    assert other.node.id is not None
    before = {entry.address for entry in node.node.table}
    address = node.node.address
    for number in range(300):
        ghost = (f"88.8.{number >> 8}.{number & 255}", 4000)
        net.inject(
            encode_request(Request(1, FALSE_AT, PING, True, id=other.node.id)), ghost, node.address
        )  # not its id
        forged = encode_request(Request(1, FALSE_AT, PING, True, id=contact_at(ghost).id))
        net.inject(forged, ghost, node.address)  # its id, but nobody is there
        answer = Response(number, FALSE_AT, closer=(ghost,), id=contact_at(ghost).id)
        net.inject(encode_response(answer), ghost, node.address)  # an answer to nothing
        net.run(0.05)
    net.run(30)
    assert {entry.address for entry in node.node.table} <= {member.address for member in nodes}
    assert {entry.address for entry in node.node.table} >= before
    assert node.node.address == address
    assert node.node.online


FALSE_AT = (FALSE_HOST, PORT)


# floods, hints and other people's hosts


def test_flood_is_answered_at_a_bounded_rate_and_in_bounded_memory() -> None:
    """8,000 requests from one host in 4 s, then one from each of 8,000 hosts; a guest is served meanwhile."""
    net = Network(11)
    nodes = net.grow(10)
    node = nodes[1]
    limits = node.node.limits
    wire = Wire(net)
    value = encode_seq(0)
    tracemalloc.start()
    try:
        base = tracemalloc.get_traced_memory()[0]
        for number in range(8_000):
            command = (FIND_NODE, LOOKUP, MUTABLE_GET, IMMUTABLE_GET)[number % 4]
            target = number.to_bytes(32, "big")
            bare(net, node, command, value, None, internal=command == FIND_NODE, target=target)
            if number % 100 == 0:
                net.run(0.05)
        answers = wire.to(ELSEWHERE[0])
        assert len(answers) <= limits.host_burst + 5 * limits.host_rate
        wire.seen.clear()
        for number in range(8_000):
            ghost = (f"99.{number >> 16}.{number >> 8 & 255}.{number & 255}", 4000)
            data = encode_request(Request(1, node.address, FIND_NODE, True, TOPIC, id=contact_at(ghost).id))
            net.inject(data, ghost, node.address)
            if number % 1000 == 0:
                net.run(0.05)
        pings = [data for _, to, data in wire.seen if to[0].startswith("99.") and data[0] == 3]
        assert len(pings) <= 2 * limits.visitors * 4, "who only claims to be a node is asked, a few at a time"
        wire.seen.clear()
        net.run(30)
        grown = tracemalloc.get_traced_memory()[0] - base
    finally:
        tracemalloc.stop()
    assert len(node.node.quota) <= limits.hosts
    assert len(node.node.table) < len(nodes)
    # 8,000 of the 32,768 addresses that a process keeps ready, half a KB each, and the quota of 4,096 hosts
    assert grown < 8_000_000
    member = guest(net)
    assert asked(net, member, lambda done: hyper.announce(member.node, TOPIC, ADA, (), done)).committed == 10


def test_false_down_hints_cost_living_nodes_one_ping() -> None:
    """For a minute one host tells every node that every other is down."""
    net = Network(12, loss=0.02)
    nodes = net.grow(40)
    before = sum(len(node.node.table) for node in nodes)
    wire = Wire(net)
    hints = 0
    for _ in range(12):
        for node in nodes:
            for other in nodes:
                data = encode_request(Request(1, node.address, DOWN_HINT, True, value=contact_at(other.address).wire))
                net.inject(data, ELSEWHERE, node.address)
                hints += 1
        net.run(5)
    pings = [data for _, _, data in wire.seen if data[0] == 3]
    assert sum(len(node.node.table) for node in nodes) >= before, "nobody who answers is forgotten"
    assert len(pings) < hints, "and a hint causes no more than it costs"


def test_forged_requests_send_small_and_few_answers_to_a_victim() -> None:
    """Reflection: what a request with a forged source makes a node send there, at most.

    The worst are full answers to LOOKUP and to the GETs: 18 bytes for one, headers counted.  A host gets at most 64
    of them a second from a node, and the node answers nobody but the claimed source.
    """
    net = Network(13)
    nodes = net.grow(30)
    node = nodes[2]
    store = node.node.store
    relays = tuple((public_host(n), PORT) for n in range(3))
    for number in range(20):
        key = SigningKey.from_seed(bytes([number]) * 32).public
        store.records.add(TOPIC, key, encode_peer(PeerRecord(key, relays)), str(number), net.now)
    biggest = bytes(1000)
    store.immutables.put(TOPIC, biggest, net.now, "x", 1000)
    store.mutables.put(TOPIC, sign_mutable(ADA, 1, biggest), net.now, "x", 1000)
    ratio: dict[str, float] = {}
    cases: list[tuple[str, int, bool, bytes | None]] = [
        ("PING", PING, True, None),
        ("PING_NAT", PING_NAT, True, b"\x01\x02"),
        ("FIND_NODE", FIND_NODE, True, None),
        ("DOWN_HINT", DOWN_HINT, True, contact_at(nodes[5].address).wire),
        ("DELAYED_PING", DELAYED_PING, True, (1).to_bytes(4, "little")),
        ("FIND_PEER", FIND_PEER, False, None),
        ("LOOKUP", LOOKUP, False, None),
        ("MUTABLE_GET", MUTABLE_GET, False, encode_seq(0)),
        ("IMMUTABLE_GET", IMMUTABLE_GET, False, None),
        ("a command that nobody knows", 99, False, None),
    ]
    for name, command, internal, value in cases:
        wire = Wire(net)
        small = name in ("PING", "PING_NAT", "DOWN_HINT", "DELAYED_PING")
        request = Request(1, node.address, command, internal, None if small else TOPIC, value)
        data = encode_request(request)
        net.inject(data, ELSEWHERE, node.address)
        net.run(1)
        answers = wire.to(ELSEWHERE[0])
        assert len(answers) == 1, name
        assert {to[0] for source, to, _ in wire.seen if source == node.address} <= {ELSEWHERE[0], nodes[5].host}, name
        assert len(answers[0]) < 1280, name
        ratio[name] = (len(answers[0]) + HEADERS) / (len(data) + HEADERS)
    assert max(ratio.values()) < 18.5
    assert all(ratio[name] < 2 for name in ("PING", "PING_NAT", "DOWN_HINT", "DELAYED_PING"))
    assert ratio["FIND_NODE"] < 3
    wire = Wire(net)
    for _ in range(2000):
        bare(net, node, LOOKUP, None, None)
    net.run(10)
    assert len(wire.to(ELSEWHERE[0])) <= node.node.limits.host_burst


def test_walk_sends_few_requests_to_a_third_party_named_by_liars() -> None:
    """All liars name forty ports of one host.  It gets at most 48 datagrams of each walk, however many name it."""
    net, _ = among_liars(14, honest=40, liars=20, lie=Victim)
    ada = guest(net)
    wire = Wire(net)
    walks = 10
    for number in range(walks):
        asked(
            net,
            ada,
            lambda done, n=number: hyper.lookup(  # type: ignore[misc]
                ada.node, hashed(bytes([n])), lambda peers, reply: None, done
            ),
        )
    net.run(30)
    assert len(wire.to(Victim.HOST)) <= walks * 8 * ada.node.limits.query_tries, "eight of its ports a walk"


def test_requested_pongs_go_only_to_the_asker_one_each_and_few_at_a_time() -> None:
    net = Network(15)
    node = net.grow(3)[1]
    wire = Wire(net)
    limits = node.node.limits

    def delayed(milliseconds: int, source: Address) -> None:
        value = milliseconds.to_bytes(4, "little")
        net.inject(encode_request(Request(1, node.address, DELAYED_PING, True, value=value)), source, node.address)

    for number in range(200):
        delayed(9000, (f"99.1.2.{number}", 1000 + number))
    delayed(10_001, ("99.7.7.7", 1))
    delayed(5000, ("99.8.8.8", 1))
    net.run(0.5)
    assert node.node.delayed.total() == limits.delayed_each + 1
    net.run(10)
    assert len([1 for _, to, _ in wire.seen if to[0].startswith("99.1.2.")]) == limits.delayed_each
    assert len(wire.to("99.7.7.7")) == 0
    assert len(wire.to("99.8.8.8")) == 1, "others are served meanwhile"
    assert node.node.delayed.total() == 0
    wire.seen.clear()
    value = (53).to_bytes(2, "little")
    net.inject(encode_request(Request(1, node.address, PING_NAT, True, value=value)), ELSEWHERE, node.address)
    net.run(1)
    sent = [(to, len(data)) for source, to, data in wire.seen if source == node.address and to[0] == ELSEWHERE[0]]
    assert [to for to, _ in sent] == [(ELSEWHERE[0], 53)], "another port of the host that asked, never another host"


# what others may make us keep


def test_network_that_fills_the_store_evicts_its_own_values() -> None:
    limits = DhtLimits(records=1000, topic_records=200, forwards=1000, refreshes=1000, bumps=1000, values=1000)
    net = Network(16)
    store = Store(limits, net.random.randbytes)
    ada = encode_peer(PeerRecord(ADA.public))
    store.records.add(TOPIC, ADA.public, ada, network_of("50.1.1.1"), 0.0)
    store.mutables.put(TOPIC, sign_mutable(ADA, 1, b"hers"), 0.0, network_of("50.1.1.1"), 4)
    store.forwards.put(TOPIC, Forward(("50.1.1.1", 1), ada), 0.0, network_of("50.1.1.1"))
    for number in range(5000):
        network = network_of(f"66.6.{number % 20}.{number % 200}")  # twenty networks of 256 hosts each
        key = number.to_bytes(32, "big")
        store.records.add(TOPIC, key, ada, network, 1.0)
        store.records.add(key, key, ada, network, 1.0)
        store.mutables.put(key, sign_mutable(ADA, 1, b"x") if number == 0 else Mutable(1, b"x", b""), 1.0, network, 1)
        store.forwards.put(key, Forward(("66.6.6.6", 1), b""), 1.0, network)
    assert len(store.records) == len(store.mutables) == len(store.forwards) == 1000
    assert store.records.draw(TOPIC, 2.0).count(ada) == 20
    assert ADA.public in store.records._topics[TOPIC]
    assert len(store.records._topics[TOPIC]) <= 200
    assert store.mutables.get(TOPIC, 2.0) is not None
    assert store.forwards.get(TOPIC, 2.0) is not None


def test_a_full_store_takes_a_known_amount_of_memory() -> None:
    """Everything full to an eighth of the default limits, from 125 networks: 10 MB, so 84 MB for all of it."""
    full = DhtLimits()
    limits = DhtLimits(
        records=full.records // 8,
        forwards=full.forwards // 8,
        refreshes=full.refreshes // 8,
        bumps=full.bumps // 8,
        values=full.values // 8,
        value_bytes=full.value_bytes // 8,
    )
    net = Network(17)
    tracemalloc.start()
    try:
        base = tracemalloc.get_traced_memory()[0]
        store = Store(limits, net.random.randbytes)
        for number in range(limits.records):
            key = number.to_bytes(32, "big")
            network = f"66.{number % 125}"
            peer = key + bytes(19)  # three relays
            store.records.add(key, key, peer, network, 0.0)
            store.forwards.put(key, Forward((f"66.6.6.{number % 256}", number), peer), 0.0, network)
            store.renewals.put(key, Renewal(key, key, peer, False), 0.0, network)
            store.bumps.put(key, number + (1 << 40), 0.0, network)
            if number % 2:
                store.mutables.put(key, Mutable(number, bytes(900) + key, key * 2), 0.0, network, 932)
                store.immutables.put(key, bytes(900) + key, 0.0, network, 932)
        held = tracemalloc.get_traced_memory()[0] - base
    finally:
        tracemalloc.stop()
    assert len(store.records) == limits.records
    assert len(store.mutables) == len(store.immutables) > 1_800, "bounded by their bytes"
    assert held * 8 < 85_000_000
