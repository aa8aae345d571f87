"""Nodes in memory that replicate over links of two queues: feeds in dictionaries, no clock, no store."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from crdt.log.head import Head, sign_head
from crdt.log.manifest import core_key
from crdt.log.merkle import Leaf, Node, Tree, leaf_of, roots_at, tail_indexes, tree_hash
from identity.keys import SigningKey
from sync.replicate.effects import (
    Acked,
    Append,
    CaughtUp,
    Effect,
    FetchAnswered,
    ForkFound,
    HistoryAnswered,
    HistoryAsked,
    PackArrived,
    PackWanted,
    ProofAnswered,
    SendMessage,
    StoreRecord,
    StretchAnswered,
    TipsTold,
    Violation,
)
from sync.replicate.encoding import TYPES, decode
from sync.replicate.messages import Block, Blocks, Fetched, Fork, Point, Proof, Question, Stretch, StretchBlocks
from sync.replicate.proof import make_proof, proof_indexes
from sync.replicate.replicator import Replicator
from sync.replicate.wants import Claims


def writer_key(name: str) -> SigningKey:
    return SigningKey.from_seed(name.encode().ljust(32, b"."))


class Feed:
    """One feed: blocks or withheld leaves, every node of the tree, the newest head."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.leaves: list[Leaf] = []
        self.made: dict[int, Node] = {}
        self.tree = Tree()
        self.head: Head | None = None
        self.durable = 0
        self.packed = 0

    def extend(self, blocks: Iterable[Block], leaves: Sequence[Leaf]) -> None:
        for place, leaf in enumerate(leaves, self.tree.length):
            self.made[2 * place] = Node(2 * place, *leaf)
        self.blocks += blocks
        self.leaves += leaves
        self.tree, made = self.tree.extend(leaves)
        self.made.update((node.index, node) for node in made)

    def root(self, length: int) -> bytes:
        return tree_hash([self.made[index] for index in roots_at(length)])

    def proof(self, length: int, at: int) -> Proof:
        assert self.head is not None
        return make_proof(self.head, length, at, [self.made[i] for i in proof_indexes(self.head, length, at)])

    def withhold(self, *places: int) -> None:
        for place in places:
            self.blocks[place] = self.leaves[place]


class Feeds:
    """A `FeedView` of dictionaries."""

    def __init__(self) -> None:
        self.feeds: dict[bytes, Feed] = {}
        self.held_records: dict[bytes, tuple[int, bytes]] = {}
        self.held_forks: dict[bytes, Fork] = {}
        self.held_tips: dict[Point, bool] = {}

    def of(self, writer: bytes) -> Feed:
        return self.feeds.setdefault(writer, Feed())

    def heads(self) -> Mapping[bytes, Head]:
        return {writer: feed.head for writer, feed in self.feeds.items() if feed.head is not None}

    def tree(self, writer: bytes) -> Tree:
        return self.feeds[writer].tree if writer in self.feeds else Tree()

    def nodes(self, writer: bytes, indexes: Sequence[int]) -> list[Node]:
        return [self.feeds[writer].made[index] for index in indexes]

    def blocks(self, writer: bytes, start: int, end: int, limit: int) -> list[Block]:
        found: list[Block] = []
        for block in self.feeds[writer].blocks[start:end]:
            limit -= 32 if isinstance(block, tuple) else len(block)
            if found and limit < 0:
                break
            found.append(block)
        return found

    def leaves(self, writer: bytes, start: int, end: int) -> list[Block]:
        return list(self.feeds[writer].leaves[start:end])

    def durable(self, writer: bytes) -> int:
        return self.feeds[writer].durable

    def packed(self, writer: bytes) -> int:
        return self.feeds[writer].packed if writer in self.feeds else 0

    def records(self) -> Mapping[bytes, int]:
        return {writer: counter for writer, (counter, _) in self.held_records.items()}

    def record(self, writer: bytes) -> bytes:
        return self.held_records[writer][1]

    def forks(self) -> Mapping[bytes, Fork]:
        return self.held_forks

    def find(self, point: Point) -> Fetched | None:
        core, seq, hash_ = point
        feed = self.feed_of(core)
        if feed is None or feed.head is None or seq >= feed.head.length or feed.leaves[seq][1] != hash_:
            return None
        block = feed.blocks[seq]
        proof = feed.proof(seq + 1, seq)
        return Fetched(point, block, proof) if isinstance(block, bytes) else None

    def prove(self, question: Question) -> Proof | None:
        core, length, root, at = question
        feed = self.feed_of(core)
        if feed is None or feed.head is None or length > feed.head.length or feed.root(length) != root:
            return None
        return feed.proof(length, at)

    def stretch(self, stretch: Stretch, limit: int) -> StretchBlocks | None:
        core, start, length, root = stretch
        feed = self.feed_of(core)
        if feed is None or length > feed.tree.length or feed.root(length) != root:
            return None
        stop = min(length, start + 4)  # a few at a time
        tail = tuple((feed.made[i].size, feed.made[i].hash) for i in tail_indexes(stop, length))
        return StretchBlocks(stretch, tuple(feed.blocks[start:stop]), tail)

    def tips(self) -> Mapping[Point, bool]:
        return self.held_tips

    def feed_of(self, core: bytes) -> Feed | None:
        return next((feed for writer, feed in self.feeds.items() if core_key(writer) == core), None)


@dataclass
class Link:
    """One end: the replicator and what it has sent that is not delivered yet."""

    replicator: Replicator
    sent: deque[SendMessage] = field(default_factory=deque)


class Peer:
    """A device: its feeds, one replicator for each link, and what it saw happen."""

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.world = world
        self.view = Feeds()
        self.claims = Claims()
        self.links: dict[str, Link] = {}
        self.refused: set[bytes] = set()  # writers not admitted
        self.lazy_disk = False  # stored, but never said to be durable
        self.stuck_disk = False  # never said to be stored
        self.seen: list[str] = []
        self.packs: list[tuple[bytes, bytes]] = []  # what it serves as history: (key, sealed)
        self.history: list[tuple[bytes, bytes]] = []  # what it got
        self.tamper: Callable[[SendMessage], SendMessage] = lambda message: message

    def write(self, *blocks: bytes, feed: str | None = None, push: bool = True) -> None:
        """Appends to the feed of this name (its own unless said) and tells everybody."""
        key = writer_key(feed or self.name)
        mine = self.view.of(key.public)
        mine.extend(blocks, [leaf_of(block) for block in blocks])
        mine.head = sign_head(key, mine.tree)
        mine.durable = mine.tree.length
        self._tell([key.public], push=push)

    def record(self, counter: int, feed: str | None = None) -> None:
        writer = writer_key(feed or self.name).public
        self.view.held_records[writer] = (counter, b"record %d" % counter)
        for other, link in list(self.links.items()):
            self.perform(other, link.replicator.records_changed([writer], self.world.now))

    def read(self, name: str) -> list[Block]:
        return self.view.of(writer_key(name).public).blocks

    def connect(self, other: str) -> None:
        replicator = Replicator(
            self.view,
            admits=lambda writer: writer not in self.refused,
            verify_record=lambda writer, counter, data: data == b"record %d" % counter,
            claims=self.claims,
        )
        self.links[other] = Link(replicator)
        self.perform(other, replicator.start())

    def drop(self, other: str) -> None:
        self.links.pop(other).replicator.close()
        for name, link in list(self.links.items()):
            self.perform(name, link.replicator.wake(self.world.now))

    def flush(self) -> None:
        """Everything is stored."""
        self._stored({writer: feed.tree.length for writer, feed in self.view.feeds.items()})

    def _tell(self, writers: Sequence[bytes], *, push: bool = True) -> None:
        for name, link in list(self.links.items()):
            self.perform(name, link.replicator.local_changed(writers, self.world.now, push=push))

    def _stored(self, lengths: Mapping[bytes, int]) -> None:
        for name, link in list(self.links.items()):
            self.perform(name, link.replicator.stored(lengths, self.world.now, durable=not self.lazy_disk))

    def perform(self, other: str, effects: list[Effect]) -> None:
        """All effects first, then what follows from them."""
        changed: list[bytes] = []
        after: list[Callable[[], None]] = []
        for effect in effects:
            match effect:
                case SendMessage():
                    if other in self.links:
                        self.links[other].sent.append(self.tamper(effect))
                case Append():
                    feed = self.view.of(effect.writer)
                    assert effect.start == feed.tree.length
                    feed.extend(effect.blocks, effect.leaves)
                    assert feed.tree == effect.tree
                    assert all(feed.made[node.index] == node for node in effect.nodes)
                    feed.head = effect.head or feed.head
                    feed.durable = 0 if self.lazy_disk else feed.tree.length
                    changed.append(effect.writer)
                case StoreRecord(writer, counter, data):
                    self.view.held_records[writer] = (counter, data)
                    self.seen.append(f"{self.world.name_of(writer)} record {counter} from {other}")
                    after.append(lambda writer=writer: self._gossip_record(writer))  # type: ignore[misc]
                case ForkFound(writer, proof):
                    self.view.held_forks[writer] = proof
                    self.seen.append(f"fork of {self.world.name_of(writer)} from {other}")
                    after.append(lambda writer=writer: self._gossip_fork(writer))  # type: ignore[misc]
                case Acked(lengths):
                    for writer, length in lengths:
                        self.seen.append(f"{self.world.name_of(writer)} {length} durable at {other}")
                case CaughtUp():
                    self.seen.append(f"caught up with {other}")
                case HistoryAsked(request):
                    after.append(lambda request=request: self._next_pack(other, request))  # type: ignore[misc]
                case PackWanted(request):
                    after.append(lambda request=request: self._next_pack(other, request))  # type: ignore[misc]
                case PackArrived(request, key, sealed):
                    self.history.append((key, sealed))
                    after.append(lambda request=request: self._taken(other, request))  # type: ignore[misc]
                case HistoryAnswered(_, done, spans):
                    self.seen.append(f"history from {other}: {'done' if done else 'more'}, {len(spans)} not for me")
                case FetchAnswered(fetched, ends):
                    self.seen.append(f"fetched {fetched.point[1]} from {other}: {fetched.block!r}")
                    assert (fetched.block is None) == (not ends)
                case ProofAnswered(proved, ends):
                    self.seen.append(f"proof of {proved.question[1]} from {other}: {[length for length, _ in ends]}")
                case StretchAnswered(answer):
                    self.seen.append(f"stretch from {answer.stretch.start} of {other}: {len(answer.blocks)}")
                case TipsTold(points):
                    self.seen.append(f"tips from {other}: {[seq for _, seq, _ in points]}")
                case Violation(rule):
                    self.seen.append(f"{other} broke: {rule.sentence}")
                    self.world.cut(self.name, other)
        if changed:
            writers = list(dict.fromkeys(changed))
            self._tell(writers)
            if not self.stuck_disk:
                self._stored({writer: self.view.of(writer).tree.length for writer in writers})
        for call in after:
            call()

    def _gossip_record(self, writer: bytes) -> None:
        for name, link in list(self.links.items()):
            self.perform(name, link.replicator.records_changed([writer], self.world.now))

    def _gossip_fork(self, writer: bytes) -> None:
        for name, link in list(self.links.items()):
            self.perform(name, link.replicator.forks_changed([writer], self.world.now))

    def _next_pack(self, other: str, request: int) -> None:
        link = self.links.get(other)
        if link is None:
            return
        if self.packs:
            self.perform(other, link.replicator.give_pack(request, *self.packs.pop(0), self.world.now))
        else:
            spans = ((writer_key(self.name).public, 0, 3),)
            self.perform(other, link.replicator.answer_history(request, spans, self.world.now, done=True))

    def _taken(self, other: str, request: int) -> None:
        if other in self.links:
            self.perform(other, self.links[other].replicator.pack_taken(request, self.world.now))


class World:
    """Peers and links.  `run` delivers until nothing is under way, in an order that a seed decides."""

    def __init__(self, *names: str, seed: int = 0) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.names = {writer_key(name).public: name for name in names}
        self.peers = {name: Peer(name, self) for name in names}
        self.traffic: list[tuple[str, str, str]] = []  # (from, to, kind)
        self.bytes = 0

    def __getitem__(self, name: str) -> Peer:
        return self.peers[name]

    def name_of(self, writer: bytes) -> str:
        return self.names.get(writer, "?")

    def link(self, first: str, second: str) -> None:
        self.peers[first].connect(second)
        self.peers[second].connect(first)

    def cut(self, first: str, second: str) -> None:
        for here, there in ((first, second), (second, first)):
            if there in self.peers[here].links:
                self.peers[here].drop(there)

    def step(self) -> bool:
        """Delivers one message.  False: nothing is under way."""
        ways = [(name, other) for name, peer in self.peers.items() for other, link in peer.links.items() if link.sent]
        if not ways:
            return False
        name, other = self.random.choice(ways)
        message = self.peers[name].links[other].sent.popleft()
        self.traffic.append((name, other, TYPES[message.type][0].__name__ if message.type in TYPES else "?"))
        self.bytes += len(message.body)
        receiver = self.peers[other]
        receiver.perform(name, receiver.links[name].replicator.receive(message.type, message.body, self.now))
        return True

    def run(self, limit: int = 100_000) -> World:
        while limit and self.step():
            limit -= 1
        assert limit, "it never comes to rest"
        return self

    def kinds(self) -> list[str]:
        return [kind for _, _, kind in self.traffic]

    def frontiers(self) -> list[dict[str, int]]:
        """What each peer holds, by names."""
        return [
            {self.name_of(writer): head.length for writer, head in sorted(peer.view.heads().items())}
            for peer in self.peers.values()
        ]


def blocks_of(message: SendMessage) -> Blocks:
    found = decode(message.type, message.body)
    assert isinstance(found, Blocks)
    return found
