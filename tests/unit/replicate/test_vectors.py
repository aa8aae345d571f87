"""The bytes of every message, of a frontier digest, an anchor and a fork proof."""

from __future__ import annotations

from crdt.log.head import Head, sign_head
from crdt.log.merkle import leaf_hash, leaf_of
from sync.replicate.encoding import TYPES, decode, encode
from sync.replicate.fork import proves
from sync.replicate.messages import (
    Ack,
    Blocks,
    Branch,
    Credit,
    Digest,
    Fetch,
    Fetched,
    Fork,
    Frontier,
    HistoryAnswer,
    HistoryPiece,
    HistoryRequest,
    Message,
    Proof,
    Proved,
    Record,
    Refuse,
    Stretch,
    StretchBlocks,
    Tips,
    Want,
    WantProofs,
    WantRecords,
    Wants,
    WantStretch,
)
from sync.replicate.view import anchor_of, frontier_digest
from tests.support.vectors import matches
from tests.unit.replicate.nodes import Feed, writer_key

KEY = writer_key("vector")
W = KEY.public
OTHER = writer_key("other").public


def feed(*blocks: bytes) -> tuple[Feed, Head]:
    made = Feed()
    made.extend(blocks, [leaf_of(block) for block in blocks])
    return made, sign_head(KEY, made.tree)


def leaves(made: Feed, *indexes: int) -> tuple[tuple[int, bytes], ...]:
    return tuple((made.made[index].size, made.made[index].hash) for index in indexes)


def test_message_bytes_equal_the_recorded_vectors() -> None:
    five, head = feed(b"zero", b"one", b"two", b"three", b"four")
    two, other = feed(b"zero", b"uno")
    point = (head.core, 1, leaf_hash(b"one"))
    root = five.root(4)
    stretch = Stretch(head.core, 2, 4, root)
    fork = Fork(other, head, 2, leaves(two, 1), (), leaves(five, 1), leaves(five, 5, 8))
    examples: list[Message] = [
        Digest(frontier_digest({W: head}, {W: 3}, [W]), True),
        Frontier(True, False, (head,), ((W, 3),), (W,)),
        Frontier(),
        Wants((Want(W, 1, 2, 0, anchor_of([five.made[1]])), Want(OTHER, 2, 0, 4, anchor_of([]), True))),
        Blocks(W, 1, 2, head, (b"two", leaf_of(b"three")), leaves(five, 8)),
        Blocks(W, 0, 4, None, (bytes(300),), ()),
        Credit(262_144),
        Ack(((W, 5),)),
        Refuse((W,)),
        Branch(head, 2, leaves(five, 1), leaves(five, 5, 8)),
        Record(W, 3, b"a signed record"),
        WantRecords((W,)),
        HistoryRequest(1, None, bytes([9]) * 32),
        HistoryRequest(2, ((W, 0, 5),), bytes([9]) * 32),
        HistoryPiece(1, 0, 0, False, bytes([7]) * 81, b"the first piece"),
        HistoryPiece(1, 0, 1, True, b"", b"the last piece"),
        HistoryAnswer(1, True, ((W, 3, 5),)),
        Fetch((point,)),
        Fetched(point, b"one", Proof(head, 1, leaves(five, 0), leaves(five, 2), leaves(five, 5, 8))),
        Fetched(point, None),
        Tips((point,)),
        WantProofs(((head.core, 4, root, 2),)),
        Proved((head.core, 4, root, 2), Proof(head, 2, leaves(five, 1), leaves(five, 5), leaves(five, 8))),
        Proved((head.core, 4, root, 0), None),
        WantStretch(stretch),
        StretchBlocks(stretch, (b"two", leaf_of(b"three")), ()),
        StretchBlocks(stretch, (), ()),
        fork,
        Fork(head, Head(W, 5, two.tree.hash(), other.signature)),
    ]
    made = [{"name": type(m).__name__, "type": encode(m)[0], "body": encode(m)[1].hex()} for m in examples]
    read = [decode(v["type"], bytes.fromhex(v["body"])) for v in matches("replicate-messages", made)]
    assert read == examples
    assert {encode(m)[0] for m in examples} == TYPES.keys()
    assert proves(fork)
