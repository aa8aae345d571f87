"""Replication between nodes in memory, as transcripts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from crdt.log.head import Head, sign_head
from crdt.log.manifest import core_key
from crdt.log.merkle import leaf_hash, leaf_of
from sync.replicate.effects import Rule, SendMessage, Violation, send
from sync.replicate.encoding import decode, encode
from sync.replicate.flow import Inflow
from sync.replicate.messages import (
    MAX_MESSAGE,
    Blocks,
    Branch,
    Digest,
    Fetch,
    Fetched,
    Fork,
    Frontier,
    HistoryAnswer,
    HistoryPiece,
    HistoryRequest,
    Message,
    Point,
    Proved,
    Question,
    Record,
    Refuse,
    Stretch,
    StretchBlocks,
    WantProofs,
    WantRecords,
    Wants,
    WantStretch,
)
from sync.replicate.replicator import Replicator
from sync.replicate.serving import MAX_MISSES, MISSES
from sync.replicate.wants import STALL, next_wants
from tests.unit.replicate.nodes import Feed, Feeds, World, blocks_of, writer_key


def numbered(name: str, count: int, start: int = 0) -> list[bytes]:
    return [f"{name} {index}".encode() for index in range(start, start + count)]


def test_peers_with_equal_feeds_exchange_one_digest_each() -> None:
    world = World("Ada", "Bo")
    world.link("Ada", "Bo")
    world["Ada"].write(b"hello")
    world.run().cut("Ada", "Bo")
    world.traffic.clear()
    world.link("Ada", "Bo")
    assert world.run().kinds() == ["Digest", "Digest"]
    assert world["Ada"].seen[-2:] == ["Ada 1 durable at Bo", "caught up with Bo"]


def test_blocks_written_while_apart_arrive_once_after_connecting() -> None:
    world = World("Ada", "Bo")
    world["Ada"].write(*numbered("Ada", 300))
    world["Bo"].write(*numbered("Bo", 5))
    world.link("Ada", "Bo")
    world.run()
    assert world["Bo"].read("Ada") == numbered("Ada", 300)
    assert world["Ada"].read("Bo") == numbered("Bo", 5)
    assert Counter(world.kinds()) == {"Digest": 2, "Frontier": 2, "Wants": 2, "Blocks": 2, "Ack": 2}
    assert [sorted(peer.seen) for peer in world.peers.values()] == [
        ["Ada 300 durable at Bo", "caught up with Bo"],
        ["Bo 5 durable at Ada", "caught up with Ada"],
    ]


def test_live_blocks_are_pushed_with_their_head_and_acknowledged() -> None:
    world = World("Ada", "Bo")
    world.link("Ada", "Bo")
    world.run().traffic.clear()
    for index in range(3):
        world["Ada"].write(b"message %d" % index)
    world.run()
    assert sorted(world.kinds()) == ["Ack"] * 3 + ["Blocks"] * 3
    assert world["Bo"].read("Ada") == [b"message 0", b"message 1", b"message 2"]
    assert [line for line in world["Ada"].seen if "durable" in line] == [f"Ada {n} durable at Bo" for n in (1, 2, 3)]


def test_blocks_not_yet_durable_are_not_acknowledged() -> None:
    world = World("Ada", "Bo")
    world["Bo"].lazy_disk = True
    world.link("Ada", "Bo")
    world["Ada"].write(b"hello")
    world.run()
    assert world["Bo"].read("Ada") == [b"hello"]
    assert world["Ada"].seen == ["caught up with Bo"]
    world.cut("Ada", "Bo")
    world.link("Ada", "Bo")  # equal frontiers say nothing about disks either
    world.run()
    assert world["Ada"].seen == ["caught up with Bo"] * 2


def test_peer_passes_on_feeds_and_records_of_others() -> None:
    world = World("phone", "desktop", "friend")
    world["phone"].write(*numbered("phone", 40))
    world["phone"].record(7)
    world.link("phone", "desktop")
    world.run().cut("phone", "desktop")
    world.link("desktop", "friend")
    world.run()
    assert world["friend"].read("phone") == numbered("phone", 40)
    assert world["friend"].seen == ["phone record 7 from desktop", "caught up with desktop"]
    world["desktop"].write(b"live")
    world.link("phone", "friend")
    world.run()
    assert world.frontiers() == [{"phone": 40, "desktop": 1}] * 3


def test_three_peers_fetch_every_missing_block_once() -> None:
    world = World("Ada", "Bo", "Cy")
    for name, peer in world.peers.items():
        peer.write(*numbered(name, 3000))
    for pair in (("Ada", "Bo"), ("Bo", "Cy"), ("Cy", "Ada")):
        world.link(*pair)
    fetched: Counter[str] = Counter()
    while world.step():
        pass
    assert world.frontiers() == [{"Ada": 3000, "Bo": 3000, "Cy": 3000}] * 3
    for name, peer in world.peers.items():
        fetched[name] = sum(len(peer.read(other)) for other in world.peers)
    assert set(fetched.values()) == {9000}
    # 3 x 2 feeds of 3,000 blocks of some 9 bytes: nobody fetched a feed from two
    assert world.bytes < 6 * 3000 * 12


def test_long_feed_does_not_delay_a_short_one() -> None:
    world = World("Ada", "Bo", "Cy")
    world["Ada"].write(*(bytes(50_000) for _ in range(200)))
    world["Ada"].write(b"short", feed="Cy")
    world.link("Ada", "Bo")
    while world["Bo"].read("Cy") == []:
        assert world.step()
    assert len(world["Bo"].read("Ada")) < 20
    world.run()
    assert world["Bo"].read("Ada") == world["Ada"].read("Ada")


def test_slow_disk_slows_the_sender_and_bounds_memory() -> None:
    world = World("Ada", "Bo")
    world["Ada"].write(*(bytes(100_000) for _ in range(100)))
    world["Bo"].stuck_disk = True  # blocks are taken in, but never reported as stored
    world.link("Ada", "Bo")
    world.run()
    assert 2_000_000 < world.bytes < 2_400_000
    world["Bo"].stuck_disk = False
    world["Bo"].flush()
    world.run()
    assert world["Bo"].read("Ada") == world["Ada"].read("Ada")


def test_next_wants_takes_the_smallest_gaps_within_its_budget() -> None:
    local = {b"a": 5, b"b": 0, b"c": 10}
    remote = {b"a": 6, b"b": 100, b"c": 10, b"d": 3, b"e": 50}
    assert next_wants(local, remote, set(), 9) == [b"a", b"d", b"e", b"b"]
    assert next_wants(local, remote, {b"a"}, 2) == [b"d", b"e"]
    assert next_wants(local, remote, set(), -1) == []


def test_feed_of_a_writer_is_fetched_once_the_writer_is_admitted() -> None:
    world = World("Ada", "Bo")
    stranger = writer_key("Ada").public
    world["Bo"].refused.add(stranger)
    world["Ada"].write(*numbered("Ada", 3))
    world["Ada"].record(1)
    world.link("Ada", "Bo")
    world.run()
    world["Ada"].write(b"more")
    world.run()
    assert (world["Bo"].read("Ada"), world["Bo"].seen) == ([], ["caught up with Ada"])
    world["Bo"].refused.clear()
    world["Bo"].perform("Ada", world["Bo"].links["Ada"].replicator.admission_changed(0.0))
    world.run()
    assert world["Bo"].read("Ada") == [*numbered("Ada", 3), b"more"]
    assert world["Bo"].seen[1:] == ["Ada record 1 from Ada", "caught up with Ada"]


def test_only_newer_device_records_are_sent() -> None:
    world = World("Ada", "Bo", "Cy")
    world["Ada"].record(3)
    world["Bo"].record(5, feed="Ada")
    world["Cy"].record(4, feed="Ada")
    world.link("Ada", "Bo")
    world.link("Bo", "Cy")
    world.run()
    assert [peer.view.records() for peer in world.peers.values()] == [{writer_key("Ada").public: 5}] * 3
    assert "record" not in str(world["Bo"].seen)
    world["Cy"].record(6, feed="Ada")
    assert set(world.run()["Ada"].view.records().values()) == {6}


def test_connection_breaking_at_any_message_loses_no_block() -> None:
    world = World("Ada", "Bo", seed=3)
    world["Ada"].write(*(b"%d" % index * 500 for index in range(2000)))
    for pause in range(1, 12):
        world.link("Ada", "Bo")
        for _ in range(pause):
            world.step()
        world.cut("Ada", "Bo")
    held = len(world["Bo"].read("Ada"))
    assert held > 0
    world.link("Ada", "Bo")
    world.run()
    assert world["Bo"].read("Ada") == world["Ada"].read("Ada")


def test_partly_received_range_continues_from_another_peer() -> None:
    world = World("Ada", "Bo", "Cy")
    world["Ada"].write(*(b"%d" % index * 500 for index in range(1000)))
    world.link("Ada", "Cy")
    world.run().cut("Ada", "Cy")
    world.link("Ada", "Bo")
    while not world["Bo"].read("Ada"):
        world.step()
    world.cut("Ada", "Bo")
    assert world["Bo"].view.heads() == {}
    world.link("Cy", "Bo")
    world.bytes = 0
    world.run()
    assert world["Bo"].read("Ada") == world["Ada"].read("Ada")
    assert world.bytes < sum(map(len, numbered("", 0))) + sum(len(b"%d" % i * 500) for i in range(1000))


def test_stalled_feed_is_fetched_from_another_peer() -> None:
    world = World("Ada", "Bo", "Cy")
    world["Ada"].write(*numbered("Ada", 10))
    world.link("Ada", "Cy")
    world.run()
    world.link("Ada", "Bo")
    world["Ada"].tamper = lambda message: SendMessage(99, b"") if message.type == 3 else message  # never answers
    world.run()
    world.link("Cy", "Bo")
    world.run()
    waiting = world["Bo"].links["Cy"].replicator
    assert (world["Bo"].read("Ada"), waiting.next_wake()) == ([], STALL)
    world.now = STALL
    world["Bo"].perform("Cy", waiting.wake(world.now))
    world.run()
    assert world["Bo"].read("Ada") == numbered("Ada", 10)
    assert sorted(world["Bo"].seen) == ["caught up with Ada", "caught up with Cy"]


def test_history_packs_arrive_before_blocks_are_requested() -> None:
    world = World("old", "new")
    world["old"].write(*numbered("old", 100))
    world["old"].packs = [(bytes([1]) * 32, bytes(3_000_000)), (bytes([2]) * 32, bytes(65_536))]
    packs = list(world["old"].packs)
    world.link("old", "new")
    new = world["new"].links["old"].replicator
    world["new"].perform("old", new.hold_blocks(True, 0.0))
    request, effects = new.ask_history(None)
    world["new"].perform("old", effects)
    world.run()
    assert (request, world["new"].history, world["new"].read("old")) == (1, packs, [])
    assert world["new"].seen == ["history from old: done, 1 not for me"]
    # The items of the packs are these blocks: hashes are enough to check them.
    world["new"].view.of(writer_key("old").public).packed = 100
    world["new"].perform("old", new.hold_blocks(False, 0.0))
    world.run()
    assert world["new"].read("old") == [(len(block), leaf_hash(block)) for block in numbered("old", 100)]
    assert world["new"].seen[-1] == "caught up with old"


def test_hashes_are_sent_for_packed_entries_and_blocks_after_them() -> None:
    world = World("old", "new")
    world["old"].write(*numbered("old", 100))
    world["new"].view.of(writer_key("old").public).packed = 77
    world.link("old", "new")
    world.run()
    kinds = [isinstance(block, tuple) for block in world["new"].read("old")]
    assert kinds == [True] * 76 + [False] * 24
    assert world.frontiers() == [{"old": 100}] * 2


def test_single_blocks_are_fetched_by_hash() -> None:
    world = World("Ada", "Bo")
    world["Ada"].write(*numbered("Ada", 3))
    world.link("Ada", "Bo")
    core = core_key(writer_key("Ada").public)
    points = [(core, 1, leaf_hash(b"Ada 1")), (core, 1, bytes(32)), (core, 1, leaf_hash(b"Ada 1"))]
    world["Bo"].perform("Ada", world["Bo"].links["Ada"].replicator.fetch(points))
    world.run()
    assert [line for line in world["Bo"].seen if "fetched" in line] == [
        "fetched 1 from Ada: b'Ada 1'",
        "fetched 1 from Ada: None",
    ]


def withheld_world(*places: int, count: int = 12) -> World:
    world = World("Ada", "Bo", "Cy")
    world["Ada"].write(*numbered("Ada", count))
    world["Ada"].view.of(writer_key("Ada").public).withhold(*places)
    return world


def test_a_message_never_ends_inside_a_pair_whose_first_block_is_withheld() -> None:
    world = World("Ada", "Bo")
    sizes = [64_000, 64_000, 10, 64_000, 10, 200_000, 10, 200_000, 64_000, 10]
    world["Ada"].write(*(bytes([place]) * size for place, size in enumerate(sizes)))
    world["Ada"].view.of(writer_key("Ada").public).withhold(2, 4, 6)
    ends: list[int] = []

    def note(message: SendMessage) -> SendMessage:
        if message.type == 3:
            ends.append(blocks_of(message).start + len(blocks_of(message).blocks))
        return message

    world["Ada"].tamper = note
    world.link("Ada", "Bo")
    world.run()
    assert world["Bo"].read("Ada") == world["Ada"].read("Ada")
    assert ends == [2, 4, 6, 8, 10]


@pytest.mark.parametrize("places", [(0,), (11,), (10, 11), (3, 4, 5), tuple(range(12)), (6,)])
def test_withheld_blocks_are_sent_as_hashes(places: tuple[int, ...]) -> None:
    world = withheld_world(*places)
    world.link("Ada", "Bo")
    world.run()
    world["Ada"].write(b"after")
    world.link("Bo", "Cy")
    world.run()
    assert world["Bo"].read("Ada") == world["Cy"].read("Ada") == world["Ada"].read("Ada")


def test_false_sizes_of_two_withheld_blocks_break_no_later_proof() -> None:
    """Their parent fixes only the sum, so the lie passes; whoever stores it still serves and follows the feed."""
    world = withheld_world(4, 5)

    def lie(message: SendMessage) -> SendMessage:
        if message.type != 3:
            return message
        blocks = list(blocks_of(message).blocks)
        first, second = blocks[4], blocks[5]
        assert isinstance(first, tuple)
        assert isinstance(second, tuple)
        blocks[4:6] = [(first[0] + 1, first[1]), (second[0] - 1, second[1])]
        return send(replace(blocks_of(message), blocks=tuple(blocks)))

    world["Ada"].tamper = lie
    world.link("Ada", "Bo")
    world.run()
    assert world["Bo"].view.of(writer_key("Ada").public).leaves[4][0] == len(b"Ada 4") + 1
    # Cy has the true first block of the pair and takes the rest from Bo, from the odd place
    world["Ada"].tamper = lambda message: message
    cy = World("Ada")["Ada"]
    cy.write(*numbered("Ada", 5))
    world["Cy"].view.feeds = cy.view.feeds
    world.link("Bo", "Cy")
    world.run()
    assert world["Cy"].read("Ada")[5:] == [world["Ada"].read("Ada")[5], *numbered("Ada", 6, 6)]
    world["Ada"].write(b"after")
    world.run()
    assert world.frontiers() == [{"Ada": 13}] * 3
    assert all("broke" not in line and "fork" not in line for peer in world.peers.values() for line in peer.seen)


# Peers that lie


def tampered(kind: type, change: str) -> list[str]:
    """What Bo saw when Ada's messages of one kind were changed on their way, and that nothing of it was stored."""
    world = World("Ada", "Bo")
    world["Ada"].write(*numbered("Ada", 9))
    world["Ada"].record(2)

    def tamper(message: SendMessage) -> SendMessage:
        found = decode(message.type, message.body)
        if not isinstance(found, kind):
            return message
        match found, change:
            case Blocks(blocks=blocks), "block":
                return send(replace(found, blocks=(*blocks[:-1], b"forged")))
            case Blocks(blocks=blocks), "shorter":
                return send(replace(found, blocks=blocks[:-1]))
            case Blocks(blocks=blocks), "longer":
                return send(replace(found, blocks=(*blocks, b"more")))
            case Blocks(), "tail":
                return send(replace(found, tail=((1, bytes(32)),)))
            case Blocks(blocks=blocks), "split":
                return send(replace(found, blocks=((5, leaf_hash(blocks[0])),)))  # type: ignore[arg-type]
            case Blocks(), "another feed":
                return send(replace(found, writer=writer_key("Bo").public))
            case Frontier(heads=heads), "root":
                return send(replace(found, heads=(replace(heads[0], root=bytes(32)),)))
            case Frontier(heads=heads), "length":
                return send(replace(found, heads=(replace(heads[0], length=10),)))
            case Record(), "data":
                return send(replace(found, data=b"forged"))
            case _, "truncated":
                return SendMessage(message.type, message.body[:-1])
            case _, "trailing":
                return SendMessage(message.type, message.body + b"\x00")
            case _, "oversize":
                return SendMessage(message.type, bytes(MAX_MESSAGE + 1))
        raise LookupError(change)

    world["Ada"].tamper = tamper
    world.link("Ada", "Bo")
    world.run()
    assert world["Bo"].read("Ada") == []
    return [line for line in world["Bo"].seen if "broke" in line]


@pytest.mark.parametrize(
    ("kind", "change", "rule"),
    [
        (Blocks, "block", Rule.BAD_RANGE),
        (Blocks, "shorter", Rule.BAD_RANGE),
        (Blocks, "longer", Rule.BEYOND_HEAD),
        (Blocks, "tail", Rule.BAD_RANGE),
        (Blocks, "split", Rule.SPLIT_PAIR),
        (Blocks, "another feed", Rule.NO_HEAD),
        (Frontier, "root", Rule.BAD_HEAD),
        (Frontier, "length", Rule.BAD_HEAD),
        (Record, "data", Rule.BAD_RECORD),
        (Blocks, "truncated", Rule.MALFORMED),
        (Blocks, "trailing", Rule.MALFORMED),
        (Frontier, "oversize", Rule.MALFORMED),
    ],
)
def test_invalid_message_closes_the_channel_with_its_rule_and_stores_nothing(
    kind: type, change: str, rule: Rule
) -> None:
    assert tampered(kind, change) == [f"Ada broke: {rule.sentence}"]


def test_unrequested_or_misordered_messages_close_the_channel_with_their_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    # No credit is given back, and none is left to answer with.
    monkeypatch.setattr(Inflow, "give_back", lambda self, size: None)
    feed = Feed()
    feed.extend([b"x"], [leaf_of(b"x")])
    head = sign_head(writer_key("Cy"), feed.tree)
    point = (bytes(32), 0, leaf_hash(b"x"))
    digest = Digest(bytes(32), False)
    records = [Record(bytes([n]) * 32, 1, bytes(65_536)) for n in range(34)]
    attempts: list[tuple[list[Message], Rule]] = [
        ([Frontier(last=True)], Rule.TOO_EARLY),
        ([digest, digest], Rule.TOO_EARLY),
        ([digest, Fetched(point, None)], Rule.UNASKED),
        ([digest, HistoryPiece(1, 0, 0, True, bytes(32), b"x")], Rule.UNASKED),
        ([digest, HistoryAnswer(1, True, ())], Rule.UNASKED),
        ([digest, *[HistoryRequest(n, None) for n in range(5)]], Rule.TOO_MANY),
        ([digest, HistoryRequest(1, None), HistoryRequest(1, None)], Rule.TOO_MANY),
        ([digest, Fork(head, head)], Rule.BAD_FORK),
        ([digest, Branch(head, 1, ((1, bytes(32)),), ())], Rule.BAD_BRANCH),
        ([digest, *[Fetch((point,) * 256)] * 5], Rule.TOO_MANY),
        ([digest, *[WantProofs(((bytes(32), 1, bytes(32), 0),) * 256)] * 5], Rule.TOO_MANY),
        ([digest, Proved((bytes(32), 1, bytes(32), 0), None)], Rule.UNASKED),
        ([digest, StretchBlocks(Stretch(bytes(32), 0, 1, bytes(32)), (), ())], Rule.UNASKED),
        ([digest, *[WantStretch(Stretch(bytes(32), n, 9999, bytes(32))) for n in range(1025)]], Rule.TOO_MANY),
        ([digest, *records], Rule.FLOOD),
    ]
    for moves, rule in attempts:
        replicator = Replicator(Feeds(), admits=lambda _: True, verify_record=lambda *_: True)
        replicator._out.add_credit(-(2**40))
        effects = [effect for move in moves for effect in replicator.receive(*encode(move), 0.0)]
        assert [effect for effect in effects if isinstance(effect, Violation)] == [Violation(rule)]
        assert effects[-1] == Violation(rule)
        assert replicator.receive(*encode(digest), 0.0) == []


def test_misordered_or_oversized_packs_close_the_channel() -> None:
    for pieces in (
        [HistoryPiece(1, 1, 0, False, bytes(32), bytes(262_144))],
        [HistoryPiece(1, 0, 1, False, b"", bytes(262_144))],
        [HistoryPiece(1, 0, 0, False, bytes(32), bytes(100))],
        [HistoryPiece(1, 0, 0, True, bytes(32), b"")],
        [HistoryPiece(1, 0, n, False, b"" if n else bytes(32), bytes(262_144)) for n in range(17)],
    ):
        world = World("Ada", "Bo")
        world.link("Ada", "Bo")
        world.run()
        bo = world["Bo"]
        _, effects = bo.links["Ada"].replicator.ask_history(None)
        bo.perform("Ada", effects)
        for piece in pieces:
            bo.perform("Ada", bo.links["Ada"].replicator.receive(*encode(piece), 0.0))
        assert bo.seen[-1] == f"Ada broke: {Rule.OUT_OF_ORDER.sentence}"
        assert bo.history == []


def test_unknown_messages_are_ignored() -> None:
    world = World("Ada", "Bo")
    world["Ada"].write(b"hello")
    world.link("Ada", "Bo")
    world["Ada"].links["Bo"].sent.appendleft(SendMessage(77, b"from a later version"))
    world.run()
    assert world["Bo"].read("Ada") == [b"hello"]


def test_wants_that_cannot_be_served_are_refused() -> None:
    world = World("Ada", "Bo")
    world["Ada"].write(*numbered("Ada", 3))
    world.link("Ada", "Bo")

    def beyond(message: SendMessage) -> SendMessage:
        found = decode(message.type, message.body)
        return send(Wants(tuple(replace(w, start=3) for w in found.wants))) if isinstance(found, Wants) else message

    world["Bo"].tamper = beyond
    world.run()
    assert ("Ada", "Bo", Refuse.__name__) in world.traffic
    assert world["Bo"].seen == ["caught up with Ada"]
    assert WantRecords.__name__ not in world.kinds()


# Forks


def forked_world(common: int, first: int, second: int) -> World:
    """Ada holds one branch of Eve's feed, Bo another; Cy watches."""
    world = World("Ada", "Bo", "Cy", "Eve")
    world["Ada"].write(*numbered("Eve", common), *numbered("left", first), feed="Eve")
    world["Bo"].write(*numbered("Eve", common), *numbered("right", second), feed="Eve")
    return world


@pytest.mark.parametrize(
    ("common", "first", "second"), [(0, 1, 1), (5, 1, 1), (5, 3, 1), (5, 1, 3), (4, 7, 2), (8, 1, 9)]
)
def test_fork_is_found_proved_and_passed_on(common: int, first: int, second: int) -> None:
    world = forked_world(common, first, second)
    world.link("Ada", "Cy")
    world.run()
    world.link("Ada", "Bo")
    world.run()
    assert [line for peer in world.peers.values() for line in peer.seen if "fork" in line or "broke" in line] == [
        "fork of Eve from Bo",
        "fork of Eve from Ada",
        "fork of Eve from Ada",
    ]
    proof = world["Cy"].view.held_forks[writer_key("Eve").public]
    assert {proof.first.length, proof.second.length} == {common + first, common + second}
    # who comes later learns it although the feeds of the two are equal
    world.link("Eve", "Ada")
    world.run()
    assert "fork of Eve from Ada" in world["Eve"].seen


def test_fork_with_growing_branches_closes_no_honest_connection() -> None:
    world = forked_world(3, 0, 0)
    world.link("Ada", "Bo")
    world.run()
    for _ in range(3):
        world["Ada"].write(b"left", feed="Eve")
        world["Bo"].write(b"right", feed="Eve")
        world["Bo"].write(b"right again", feed="Eve")
    world.run()
    assert sorted(line for peer in world.peers.values() for line in peer.seen if "fork" in line or "broke" in line) in (
        ["fork of Eve from Ada", "fork of Eve from Bo"],
    )
    world["Ada"].write(b"honest")
    world.run()
    assert world["Bo"].read("Ada") == [b"honest"]


def test_range_in_flight_while_the_feed_changes_branch_is_no_violation() -> None:
    """Bo streams one branch to Cy, and before its first message arrives Cy has taken a block of the other."""
    world = forked_world(2, 0, 3000)
    world.link("Bo", "Cy")
    while not any(message.type == 3 for message in world["Bo"].links["Cy"].sent):
        world.step()
    late = list(world["Bo"].links["Cy"].sent)
    world["Bo"].links["Cy"].sent.clear()
    left = World("Ada", "Eve")["Ada"]
    left.write(*numbered("Eve", 2), *numbered("left", 1), feed="Eve")
    world["Cy"].view.feeds = left.view.feeds
    world["Bo"].links["Cy"].sent.extend(late)
    world.run()
    assert "broke" not in str(world["Cy"].seen)
    assert world["Cy"].view.forks().keys() == world["Bo"].view.forks().keys() == {writer_key("Eve").public}


def test_third_peer_stores_one_branch_and_receives_the_fork_proof() -> None:
    world = forked_world(5, 400, 300)
    world.link("Ada", "Cy")
    world.link("Bo", "Cy")
    world.run()
    assert len(world["Cy"].read("Eve")) in (405, 305)
    assert "fork of Eve" in str(world["Cy"].seen)
    assert "broke" not in str([peer.seen for peer in world.peers.values()])


def test_forged_fork_proofs_are_refused() -> None:
    world = forked_world(5, 3, 1)
    world.link("Ada", "Bo")
    world.run()
    proof = world["Bo"].view.held_forks[writer_key("Eve").public]
    honest = World("Eve")["Eve"]
    honest.write(*numbered("Eve", 5))
    short = honest.view.heads()[writer_key("Eve").public]
    honest.write(*numbered("Eve", 3, 5))
    long = honest.view.heads()[writer_key("Eve").public]
    feed = honest.view.of(writer_key("Eve").public)
    roots = tuple((feed.made[index].size, feed.made[index].hash) for index in (3, 8))
    tail = tuple((feed.made[index].size, feed.made[index].hash) for index in (10, 13))
    lied = ((roots[0]), (roots[1][0] + 1, roots[1][1]))
    lied_tail = ((tail[0][0] - 1, tail[0][1]), tail[1])
    for forged in (
        Fork(short, long),
        Fork(short, short),
        Fork(short, long, 5, roots, (), roots, tail),
        Fork(short, long, 5, roots, (), lied, lied_tail),
        replace(proof, first=replace(proof.first, signature=bytes(64))),
        replace(proof, length=proof.length - 1),
        replace(proof, second_tail=proof.second_tail[1:]),
        replace(proof, second=proof.first),
    ):
        target = World("Ada", "Bo", "Eve")
        target.link("Ada", "Bo")
        target.run()
        target["Bo"].perform("Ada", target["Bo"].links["Ada"].replicator.receive(*encode(forged), 0.0))
        assert target["Bo"].seen[-1] == f"Ada broke: {Rule.BAD_FORK.sentence}"


def tip(name: str, seq: int) -> Point:
    return core_key(writer_key(name).public), seq, leaf_hash(f"{name} {seq}".encode())


def question(world: World, name: str, holder: str, length: int, at: int) -> Question:
    """About the end that a holder's copy of a feed has at a length."""
    writer = writer_key(name).public
    return core_key(writer), length, world[holder].view.of(writer).root(length), at


def test_control_tips_are_told_once_both_sides_know_the_others_feeds() -> None:
    world = World("Ada", "Bo")
    world["Ada"].write(*numbered("Ada", 3))
    world["Ada"].view.held_tips = {tip("Ada", 2): True, tip("Cy", 5): False}
    world.link("Ada", "Bo")
    world.run()
    assert [line for line in world["Bo"].seen if "tips" in line] == ["tips from Ada: [2, 5]"]
    world["Ada"].write(*numbered("Ada", 1, 3))
    world["Ada"].view.held_tips = {tip("Ada", 3): True, tip("Cy", 5): False, tip("Cy", 6): False}
    world["Ada"].perform("Bo", world["Ada"].links["Bo"].replicator.tips_changed(world.now))
    world.run()
    # Ada's own comes with her feed; Cy's stands beside the branch of his that is kept.
    assert [line for line in world["Bo"].seen if "tips" in line][1:] == ["tips from Ada: [6]"]


def test_ends_are_proved_by_who_holds_their_branch() -> None:
    world = World("Ada", "Bo")
    world["Ada"].write(*numbered("Ada", 13))
    world.link("Ada", "Bo")
    world.run()
    core = core_key(writer_key("Ada").public)
    questions = [question(world, "Ada", "Ada", 11, 5), question(world, "Ada", "Ada", 13, 13), (core, 11, bytes(32), 5)]
    world["Bo"].perform("Ada", world["Bo"].links["Ada"].replicator.want_proofs(questions))
    world.run()
    assert [line for line in world["Bo"].seen if "proof" in line] == [
        "proof of 11 from Ada: [4, 5, 6, 8, 10, 11, 12, 13]",
        "proof of 13 from Ada: [8, 12, 13]",
        "proof of 11 from Ada: []",
    ]


@pytest.mark.parametrize("change", ["block", "roots", "tail", "head", "place", "signature"])
def test_fetched_block_or_proof_that_does_not_hold_closes_the_channel(change: str) -> None:
    """What is not under a head that the feed's writer signed is nothing."""
    for kind in (Fetched, Proved):
        world = World("Ada", "Bo")
        world["Ada"].write(*numbered("Ada", 13))
        mallory = writer_key("Mal")
        forged = sign_head(mallory, world["Ada"].view.of(writer_key("Ada").public).tree)

        def tamper(message: SendMessage, kind: type = kind, forged: Head = forged) -> SendMessage:
            found = decode(message.type, message.body)
            if not isinstance(found, kind) or not isinstance(found, Fetched | Proved) or found.proof is None:
                return message
            proof = found.proof
            changed = {
                "roots": replace(proof, roots=proof.roots[1:]),
                "tail": replace(proof, tail=((1, bytes(32)), *proof.tail[1:])),
                "head": replace(proof, head=forged),
                "signature": replace(proof, head=replace(proof.head, signature=bytes(64))),
                "place": replace(proof, at=proof.at + 1),
            }
            if change == "block" and isinstance(found, Fetched):
                return send(replace(found, block=b"forged"))
            return send(replace(found, proof=changed.get(change, replace(proof, middle=()))))

        world["Ada"].tamper = tamper
        world["Bo"].refused.add(writer_key("Ada").public)  # so that no head of hers is known here
        world.link("Ada", "Bo")
        world.run()
        replicator = world["Bo"].links["Ada"].replicator
        point = core_key(writer_key("Ada").public), 6, leaf_hash(b"Ada 6")
        world["Bo"].perform("Ada", replicator.fetch([point]))
        world["Bo"].perform("Ada", replicator.want_proofs([question(world, "Ada", "Ada", 11, 6)]))
        world.run()
        broken = [line for line in world["Bo"].seen if "broke" in line]
        assert broken in (
            ["Ada broke: a fetched block does not have its hash"],
            ["Ada broke: a proof that does not lead to its head"],
        ), (kind, change)


def test_points_looked_up_in_vain_have_a_bound() -> None:
    """Each costs the hash of a block of up to 256 KiB; an honest peer misses few."""
    world = World("Ada", "Bo")
    world["Ada"].write(*numbered("Ada", 3))
    looked: list[Point] = []
    find = world["Ada"].view.find
    world["Ada"].view.find = lambda point: looked.append(point) or find(point)  # type: ignore[method-assign, func-returns-value]
    world.link("Ada", "Bo")
    world.run()
    core = core_key(writer_key("Ada").public)
    for turn in range(6):
        points = [(core, 1, turn.to_bytes(16, "big") + n.to_bytes(16, "big")) for n in range(1024)]
        world["Bo"].perform("Ada", world["Bo"].links["Ada"].replicator.fetch(points))
        world.run()
    assert len(looked) == MAX_MISSES
    assert sum("fetched" in line for line in world["Bo"].seen) == 6 * 1024


def test_points_of_one_feed_asked_for_in_vain_use_up_nothing_of_another_and_nothing_for_good() -> None:
    """A peer may ask for a third one that lied to it, and needs a true answer afterwards."""
    world = World("Ada", "Bo", "Cy")
    world["Ada"].write(*numbered("Ada", 3))
    world["Cy"].write(*numbered("Cy", 3))
    world.link("Ada", "Cy")
    world.link("Ada", "Bo")
    world.run()
    replicator = world["Bo"].links["Ada"].replicator

    def ask(name: str, *hashes: bytes) -> list[bool]:
        core = core_key(writer_key(name).public)
        world["Bo"].seen.clear()
        world["Bo"].perform("Ada", replicator.fetch((core, 1, hash_) for hash_ in hashes))
        world.run()
        return [": None" not in line for line in world["Bo"].seen if "fetched" in line]

    for turn in range(4):
        ask("Cy", *(turn.to_bytes(16, "big") + n.to_bytes(16, "big") for n in range(1024)))
    assert ask("Cy", leaf_hash(b"Cy 1")) == [False]
    assert ask("Ada", leaf_hash(b"Ada 1")) == [True]
    world.now += MISSES
    assert ask("Cy", leaf_hash(b"Cy 1")) == [True]


def test_stretch_of_a_branch_is_served_by_who_holds_its_end() -> None:
    world = World("Ada", "Bo")
    world["Ada"].write(*numbered("Ada", 9))
    world.link("Ada", "Bo")
    world.run()
    feed = world["Ada"].view.of(writer_key("Ada").public)
    core = core_key(writer_key("Ada").public)
    for one in (Stretch(core, 2, 7, feed.root(7)), Stretch(core, 6, 7, feed.root(7)), Stretch(core, 2, 7, bytes(32))):
        world["Bo"].perform("Ada", world["Bo"].links["Ada"].replicator.want_stretch(one))
    world.run()
    assert [line for line in world["Bo"].seen if "stretch" in line] == [
        "stretch from 2 of Ada: 4",
        "stretch from 6 of Ada: 1",
        "stretch from 2 of Ada: 0",
    ]
