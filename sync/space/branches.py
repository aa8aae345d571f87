"""What is held of a space's feeds beside the one branch that is kept of each: single blocks and ends, with proofs.

A block was fetched by its hash, an end was asked for because a close names it.  Both lie under a head that the feed's
writer signed, and both are handed on as they came.  `docs/protocol.md`, "Branches".
"""

from __future__ import annotations

from dataclasses import dataclass

from crdt.space.lineage import End, Prefixes
from sync.replicate.encoding import decode, encode
from sync.replicate.messages import Ends, Fetched, Point, Proof, Proved, Question
from sync.replicate.proof import shown
from sync.store.port import Batch, Store, Table, prefix_end

MAX_BLOCKS = 1024  # of one feed
MAX_BLOCKS_ALL = 16_384
MAX_PROOFS = 1024  # of one feed
FETCHED, PROVED = 14, 18  # the message types that rows are kept as
SEALED, OPENED = 0, 1


@dataclass(frozen=True, slots=True)
class Beside:
    """A block beside the branch that is kept.  key: its message key, empty while no key opens it."""

    fetched: Fetched
    key: bytes


class Branches:
    """prefixes: what the proofs say of lengths; sealed: blocks that no key opens yet."""

    def __init__(self, store: Store, space: bytes) -> None:
        self.prefixes = Prefixes()
        self.sealed: dict[Point, None] = {}
        self._store, self._space = store, space
        self._blocks: dict[Point, None] = {}
        self._blocks_of: dict[bytes, int] = {}
        self._places: dict[tuple[bytes, int], Point] = {}
        self._proofs: dict[bytes, dict[End, dict[int, Proof]]] = {}
        self._proofs_of: dict[bytes, int] = {}
        self._fresh: dict[bytes, bytes] = {}
        for _, value in store.scan(Table.BRANCH, space, prefix_end(space)):
            if value[0] in (SEALED, OPENED):
                self._note_block(_read_block(value))
            else:
                message = decode(PROVED, value[1:])
                if isinstance(message, Proved) and message.proof is not None:
                    self._note_proof(message.question, message.proof, shown(message.question[1], message.proof))

    # -- blocks -----------------------------------------------------------------------------------------------

    def room(self, core: bytes) -> bool:
        """Whether one more block of a feed may be kept."""
        return self._blocks_of.get(core, 0) < MAX_BLOCKS and len(self._blocks) < MAX_BLOCKS_ALL

    def put(self, batch: Batch, fetched: Fetched, key: bytes = b"") -> None:
        """Keeps a block; again with its key, once one opens it."""
        row = self._space + _block_key(fetched.point)
        value = bytes((OPENED if key else SEALED,)) + key + encode(fetched)[1]
        self._fresh[row] = value
        batch.put(Table.BRANCH, row, value)
        self._note_block(Beside(fetched, key))

    def drop(self, batch: Batch, point: Point) -> None:
        """Forgets a block."""
        row = self._space + _block_key(point)
        self._fresh.pop(row, None)
        batch.delete(Table.BRANCH, row)
        if point in self._blocks:
            del self._blocks[point]
            self._blocks_of[point[0]] -= 1
        self.sealed.pop(point, None)

    def get(self, point: Point) -> Beside | None:
        """A block that is held here."""
        if point not in self._blocks:
            return None
        row = self._space + _block_key(point)
        value = self._fresh.get(row) or self._store.get(Table.BRANCH, row)
        return None if value is None else _read_block(value)

    def at(self, core: bytes, seq: int) -> bytes | None:
        """A block held at this place of a feed, whatever its hash."""
        found = self._places.get((core, seq))
        beside = self.get(found) if found is not None else None
        return beside.fetched.block if beside is not None else None

    def committed(self) -> None:
        """The open batch is durable."""
        self._fresh.clear()

    def _note_block(self, beside: Beside) -> None:
        point, proof = beside.fetched.point, beside.fetched.proof
        if point not in self._blocks:
            self._blocks[point] = None
            self._places[point[:2]] = point
            self._blocks_of[point[0]] = self._blocks_of.get(point[0], 0) + 1
            if proof is not None:
                self.learn(point[0], point[1] + 1, shown(point[1] + 1, proof))
        if beside.key:
            self.sealed.pop(point, None)
        else:
            self.sealed[point] = None

    # -- proofs -----------------------------------------------------------------------------------------------

    def learn(self, core: bytes, length: int, ends: Ends) -> None:
        """A checked proof shows these ends; the one of this length was asked for."""
        chain = [End(*end) for end in ends]
        self.prefixes.learn(core, chain, [end for end in chain if end.length == length or end == chain[-1]])

    def keep(self, batch: Batch, proved: Proved, ends: Ends) -> bool:
        """Keeps a checked proof.  False: too many are held of that feed."""
        (core, length, root, _), proof = proved.question, proved.proof
        held = self._proofs.get(core, {}).get(End(length, root), {})
        if proof is None or self._proofs_of.get(core, 0) >= MAX_PROOFS:
            return False
        if proof.at not in held:
            question = core, length, root, proof.at
            row = self._space + core + b"p" + length.to_bytes(8, "big") + root + proof.at.to_bytes(8, "big")
            batch.put(Table.BRANCH, row, bytes((2,)) + encode(Proved(question, proof))[1])
            self._note_proof(question, proof, ends)
        return True

    def prove(self, question: Question) -> Proof | None:
        """A proof of that end that is held, at the length asked for if there is one."""
        core, length, root, at = question
        held = self._proofs.get(core, {}).get(End(length, root), {})
        return held.get(at) or next(iter(held.values()), None)

    def _note_proof(self, question: Question, proof: Proof, ends: Ends) -> None:
        core, length, root, _ = question
        self._proofs.setdefault(core, {}).setdefault(End(length, root), {})[proof.at] = proof
        self._proofs_of[core] = self._proofs_of.get(core, 0) + 1
        self.learn(core, length, ends)


def _block_key(point: Point) -> bytes:
    core, seq, hash_ = point
    return core + b"b" + seq.to_bytes(8, "big") + hash_


def _read_block(value: bytes) -> Beside:
    key = value[1:33] if value[0] == OPENED else b""
    message = decode(FETCHED, value[1 + len(key) :])
    if not isinstance(message, Fetched):
        raise LookupError("a row of a branch that holds none")
    return Beside(message, key)
